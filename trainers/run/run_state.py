"""What is known about a run without reading its checkpoints."""

from __future__ import annotations

import json
import time
from enum import StrEnum, auto
from typing import Any

import attrs
from attrs import field, frozen

from trainers.errors import ConfigError
from trainers.run.atomic_write import atomic_write
from trainers.run.run_folder import RunFolder


class Status(StrEnum):
    """Where a run stands; the text is that of `state.json`."""

    PLANNED = auto()
    SUBMITTED = auto()
    RUNNING = auto()
    WAITING = auto()
    """For another attempt."""
    FINISHED = auto()
    FAILED = auto()
    CANCELLED = auto()

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to such a run any more until it is submitted again."""
        return self in (Status.FINISHED, Status.FAILED, Status.CANCELLED)


class Cause(StrEnum):
    """Why an attempt ended; the text is that of `state.json` and of `retries` in a config."""

    FINISHED = auto()
    PREEMPTED = auto()
    TIME_LIMIT = auto()
    NODE_FAILURE = auto()
    OUT_OF_MEMORY = auto()
    CRASHED = auto()
    CANCELLED = auto()


class EventKind(StrEnum):
    """What happened to a run; the text is that of `events.jsonl`. A status may be a kind, too."""

    SUBMITTED = "submitted"
    CANCEL_REQUESTED = "cancel requested"
    LAUNCHED = "launched"
    """A supervisor has started the ranks of an attempt."""
    ATTEMPT = "attempt"
    """Rank 0 of an attempt has the lease."""
    STARTED = "started"
    RESTORED = "restored"
    INITIALIZED = "initialized"
    """The network begins with weights of another run."""
    BEGAN = "began"
    """The first iteration of an attempt is done."""
    CHECKPOINT = "checkpoint"
    CHECKPOINT_SKIPPED = "checkpoint_skipped"
    CHECKPOINT_FAILED = "checkpoint_failed"
    CHECKPOINT_DAMAGED = "checkpoint_damaged"
    NOT_REPRODUCIBLE = "inexact"
    ENDED = "ended"
    """The attempt is counted under its cause."""


@frozen(kw_only=True)
class RunState:
    """The contents of `state.json`.

    Written by the process that holds the run's lease, and by the launcher while nobody holds it.
    """

    status: Status = field(default=Status.PLANNED, converter=Status)
    iteration: int = 0
    """Iterations that are done; more than the newest checkpoint holds while the run is running."""
    attempts: dict[str, int] = field(factory=dict)
    """Ended attempts by cause."""
    reason: str = ""
    """Why the last attempt ended, for a person to read."""
    wandb_id: str = ""
    """The one W&B run of this folder."""
    num_iterations: int = 0
    """The goal, as last submitted; 0 for a run that no launcher has submitted."""
    identity: str = ""
    """`RunConfig.identity`, as submitted."""
    pack: str = ""
    """The pack that has the run to do; a job of an earlier pack leaves it alone."""
    saved_iteration: int = 0
    """Of the newest committed checkpoint."""
    saved_before: int = 0
    """`saved_iteration` as the last attempt to end has left it."""
    stalled: int = 0
    """Ended attempts in a row that left no newer checkpoint behind."""
    forgiven: dict[str, int] = field(factory=dict)
    """Those of the attempts that count against no budget any more."""

    def ended(self, *, cause: Cause, status: Status, reason: str = "") -> RunState:
        """The state after an attempt has ended."""
        return attrs.evolve(
            self,
            status=status,
            attempts={**self.attempts, cause.value: self.attempts.get(cause, 0) + 1},
            reason=reason,
            saved_before=self.saved_iteration,
            stalled=0 if self.saved_iteration > self.saved_before else self.stalled + 1,
        )

    def forgive(self) -> RunState:
        """The state with all budgets as new: somebody wants the run to be tried again."""
        return attrs.evolve(self, forgiven=self.attempts, stalled=0)

    def num_counted(self, cause: str) -> int:
        """How many attempts count against the budget of a cause."""
        return self.attempts.get(cause, 0) - self.forgiven.get(cause, 0)

    @property
    def num_attempts(self) -> int:
        return sum(self.attempts.values())


_KEYS = {each.name for each in attrs.fields(RunState)}


def read_state(folder: RunFolder) -> RunState:
    """The state of a run; the one of a new run when there is none yet.

    Keys of a later version are passed over: the code of a run is as old as its submission.

    Raises:
        ConfigError: The file holds something else.
    """
    try:
        data = dict(json.loads(folder.state.read_bytes()))
        return RunState(**{key: data[key] for key in data if key in _KEYS})
    except FileNotFoundError:
        return RunState()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{folder.state} is not the state of a run: {error}. Remove it to have the run's "
            "attempts counted anew; its checkpoints stay good."
        ) from error


def write_state(folder: RunFolder, state: RunState) -> None:
    """Replace the state; a reader sees the old one or the new one."""
    with atomic_write(folder.state, fence=folder.fence) as file:
        file.write(json.dumps(attrs.asdict(state), indent=1).encode())


def append_event(folder: RunFolder, kind: EventKind | Status, **details: Any) -> None:
    """Add a line to `events.jsonl`, with the wall-clock time in seconds.

    It may come late, as many processes append: one that is stopped after the fence has let it pass
    adds its line when it goes on.
    """
    line = json.dumps({"time": round(time.time(), 3), "event": kind, **details}).encode() + b"\n"
    with folder.events.open("ab", buffering=0) as file:
        folder.fence()
        file.write(line)
