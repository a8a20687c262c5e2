"""State and events of a run, readable without its checkpoints."""

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
    """The status of a run; the texts are those of `state.json`."""

    PLANNED = auto()
    SUBMITTED = auto()
    RUNNING = auto()
    WAITING = auto()
    """For its next attempt."""
    FINISHED = auto()
    FAILED = auto()
    CANCELLED = auto()
    UNREADABLE = auto()
    """Its files cannot be read, now or by this user; never in `state.json`."""

    @property
    def is_over(self) -> bool:
        """Whether such a run stays as it is until it is submitted again."""
        return self in (Status.FINISHED, Status.FAILED, Status.CANCELLED)


class Cause(StrEnum):
    """Why an attempt ended; the texts are those of `state.json` and of `retries` in a config."""

    FINISHED = auto()
    PREEMPTED = auto()
    TIME_LIMIT = auto()
    NODE_FAILURE = auto()
    OUT_OF_MEMORY = auto()
    UNAVAILABLE = auto()
    """Data or a disk stayed away for longer than the run waits."""
    NON_FINITE = auto()
    HANG = auto()
    CRASHED = auto()
    CANCELLED = auto()


class EventKind(StrEnum):
    """What happened to a run; the texts are those of `events.jsonl`, next to those of `Status`."""

    SUBMITTED = "submitted"
    CANCEL_REQUESTED = "cancel requested"
    LAUNCHED = "launched"
    """A supervisor started the ranks of an attempt."""
    ATTEMPT = "attempt"
    """Rank 0 of an attempt took the lease."""
    STARTED = "started"
    RESTORED = "restored"
    INITIALIZED = "initialized"
    """The network starts with weights of another run: `init_from`."""
    BEGAN = "began"
    """The first iteration of an attempt is done."""
    CHECKPOINT = "checkpoint"
    CHECKPOINT_SKIPPED = "checkpoint_skipped"
    CHECKPOINT_FAILED = "checkpoint_failed"
    CHECKPOINT_DAMAGED = "checkpoint_damaged"
    NOT_REPRODUCIBLE = "inexact"
    ENDED = "ended"
    """The attempt ended and was counted under its cause."""


@frozen(kw_only=True)
class RunState:
    """The contents of `state.json`.

    Written by the process that holds the run's lease, and by the launcher while nobody holds it.
    """

    status: Status = field(default=Status.PLANNED, converter=Status)
    iteration: int = 0
    """Completed iterations; while the run runs, more than the newest checkpoint holds."""
    attempts: dict[str, int] = field(factory=dict)
    """Ended attempts by cause."""
    reason: str = ""
    """Why the last attempt ended, in words."""
    wandb_id: str = ""
    """The one W&B run of this folder."""
    num_iterations: int = 0
    """The goal as last submitted; 0 for a run that was never submitted."""
    identity: str = ""
    """`RunConfig.fingerprint`, as submitted."""
    pack: str = ""
    """The pack that runs this run; jobs of earlier packs leave it alone."""
    saved_iteration: int = 0
    """The iteration of the newest committed checkpoint."""
    saved_before: int = 0
    """`saved_iteration` when the last attempt ended."""
    stalled: int = 0
    """Ended attempts in a row without a newer checkpoint."""
    forgiven: dict[str, int] = field(factory=dict)
    """Attempts by cause that no longer count against the retry budgets."""

    def ended(self, *, cause: Cause, status: Status, reason: str = "") -> RunState:
        """Return the state after an attempt has ended."""
        return attrs.evolve(
            self,
            status=status,
            attempts={**self.attempts, cause.value: self.attempts.get(cause, 0) + 1},
            reason=reason,
            saved_before=self.saved_iteration,
            stalled=self._stalled_after(cause),
        )

    def _stalled_after(self, cause: Cause) -> int:
        if self.saved_iteration > self.saved_before:
            return 0
        # A mount that is away for hours is no sign of a run that gets nowhere.
        return self.stalled + (cause != Cause.UNAVAILABLE)

    def reset_retry_budget(self) -> RunState:
        """Return the state with full retry budgets, as at a resubmission; `attempts` stay."""
        return attrs.evolve(self, forgiven=self.attempts, stalled=0)

    def num_counted(self, cause: str) -> int:
        """Return the number of attempts that count against the retry budget of a cause."""
        return self.attempts.get(cause, 0) - self.forgiven.get(cause, 0)

    @property
    def num_attempts(self) -> int:
        return sum(self.attempts.values())


_KEYS = {each.name for each in attrs.fields(RunState)}


def read_state(folder: RunFolder) -> RunState:
    """Read the state of a run; a new state if there is no file yet.

    Unknown keys are ignored: a newer launcher may write the state of a run, whose code is as old as
    its submission.

    Raises:
        ConfigError: The file does not hold a run's state.
    """
    try:
        data = dict(json.loads(folder.state.read_bytes()))
        return RunState(**{key: data[key] for key in data if key in _KEYS})
    except FileNotFoundError:
        return RunState()
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{folder.state} is not the state of a run: {error}. Remove it to count the run's "
            "attempts from zero; its checkpoints stay valid."
        ) from error


def write_state(folder: RunFolder, state: RunState) -> None:
    """Replace the state atomically."""
    with atomic_write(folder.state, fence=folder.fence) as file:
        file.write(json.dumps(attrs.asdict(state), indent=1).encode())


def append_event(folder: RunFolder, kind: EventKind | Status, **details: Any) -> None:
    """Append a line to `events.jsonl`, with the wall-clock time in seconds.

    Lines may be out of order: a process that is suspended between the fence and the write appends
    its line once it continues.
    """
    line = json.dumps({"time": round(time.time(), 3), "event": kind, **details}).encode() + b"\n"
    # Unbuffered and in append mode: one write call per line, so lines of two processes do not mix.
    with folder.events.open("ab", buffering=0) as file:
        folder.fence()
        file.write(line)
