"""State and events of a run, readable without its checkpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from enum import StrEnum, auto
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from trainers.errors import ConfigError, StateUnavailableError
from trainers.run.atomic_write import append_line, atomic_write
from trainers.run.backoff import never, retry
from trainers.run.failure_class import is_of_this_moment
from trainers.run.run_figures import RunFigures, as_figures
from trainers.run.run_folder import RunFolder

READ_TIMEOUT_S = 2.0
"""How long an NFS client may see no file, or half of one, that another client has replaced."""


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
    ENVIRONMENT = "environment"
    """Node and GPU of rank 0; the identities of volumes that are new to the run, or replaced."""
    INITIALIZED = "initialized"
    """The network starts with weights of another run: `init_from`."""
    BEGAN = "began"
    """The first iteration of an attempt is done."""
    CHECKPOINT = "checkpoint"
    CHECKPOINT_SKIPPED = "checkpoint_skipped"
    CHECKPOINT_FAILED = "checkpoint_failed"
    CHECKPOINT_DAMAGED = "checkpoint_damaged"
    NOT_REPRODUCIBLE = "inexact"
    NON_FINITE = "non_finite"
    """Loss, gradients or weights were NaN or infinite: the optimizer step was not taken."""
    SLOW = "slow"
    """For five minutes the run has been slower than 0.6 of its own best rate."""
    RECOVERED = "recovered"
    WANDB_SILENT = "W&B silent"
    """W&B does not answer, or refuses; the training goes on without it."""
    WANDB_ANSWERS = "W&B answers"
    """It works again, and gets the rows that it lacks."""
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
    slowest_sections_s: dict[str, float] = field(factory=dict)
    """The slowest section of each kind, by which a hang is recognized: `trainers.run.sections`."""
    fastest_iteration_s: dict[str, float] = field(factory=dict)
    """Seconds of an iteration by section, at the best rate so far."""
    concern: str = ""
    """What is amiss with an attempt that goes on: it is slow, or W&B does not answer."""
    figures: RunFigures = field(factory=RunFigures, converter=as_figures)

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


def read_state(folder: RunFolder, *, timeout_s: float = READ_TIMEOUT_S) -> RunState:
    """Read the state of a run; that of a new run is a default one, which `open_state` writes.

    A run that has events has a state: its attempts are never counted from zero because the file
    cannot be read.

    Unknown keys are ignored: a newer launcher may write the state of a run, whose code is as old as
    its submission.

    Args:
        timeout_s: How long to try again when the file cannot be read, is missing, or is no state.

    Raises:
        StateUnavailableError: It cannot be read at present, or is missing; also a ConfigError.
        ConfigError: The file does not hold a run's state.
    """
    try:
        return retry(partial(_read, folder), timeout_s=timeout_s, passes=_may_pass)
    except FileNotFoundError as error:
        what = "is missing" if folder.path.is_dir() else "cannot be found, nor can its folder"
        raise StateUnavailableError(
            f"{folder.state} {what}. If its file system is away, try again once it is back; to "
            f"count the run's attempts from zero, remove {folder.events} too: its checkpoints stay "
            "valid."
        ) from error
    except OSError as error:
        raise StateUnavailableError(
            f"{folder.state} cannot be read at present: {error.strerror}"
        ) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{folder.state} is not the state of a run: {error}. Remove it and {folder.events} to "
            "count the run's attempts from zero; its checkpoints stay valid."
        ) from error


def open_state(
    folder: RunFolder, *, timeout_s: float, should_stop: Callable[[], bool] = never
) -> RunState:
    """Read the state of a run, and write the first one if the run is new; hold its lease.

    Raises:
        StateUnavailableError, ConfigError: As from `read_state`.
        OSError: The first state cannot be written.
        StopRequestedError: A stop was requested while waiting.
    """

    def attempt() -> RunState:
        state = read_state(folder)
        if not folder.state.exists():
            write_state(folder, state)
        return state

    return retry(
        attempt,
        timeout_s=timeout_s,
        passes=lambda error: (
            is_of_this_moment(error.__cause__ or error) or not folder.path.is_dir()
        ),
        should_stop=should_stop,
    )


def write_state(folder: RunFolder, state: RunState) -> None:
    """Replace the state atomically."""
    with atomic_write(folder.state, fence=folder.fence) as file:
        file.write(json.dumps(attrs.asdict(state), indent=1).encode())


def append_event(folder: RunFolder, kind: EventKind | Status, **details: Any) -> None:
    """Append a line to `events.jsonl`, with the wall-clock time in seconds.

    Lines may be out of order: a process that is suspended between the fence and the write appends
    its line once it continues.
    """
    append_line(folder.events, event_line(kind, details), fence=folder.fence)


def _read(folder: RunFolder) -> RunState:
    try:
        return parse_state(folder.state.read_bytes())
    except FileNotFoundError:
        # In this order: a mount that comes back in between must not make the run a new one.
        if not folder.path.is_dir() or _exists(folder.events) or _exists(folder.state):
            raise
        return RunState()


def _exists(path: Path) -> bool:
    """Return whether a file exists; unlike `Path.exists`, raise if that cannot be known."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def parse_state(content: bytes) -> RunState:
    """Return the state that `state.json` holds.

    Raises:
        TypeError, ValueError: These are not the bytes of a state.
    """
    data = dict(json.loads(content))
    return RunState(**{key: data[key] for key in data if key in _KEYS})


def _may_pass(error: Exception) -> bool:
    return is_of_this_moment(error) or isinstance(error, (FileNotFoundError, TypeError, ValueError))


def event_line(kind: EventKind | Status, details: dict[str, Any]) -> bytes:
    """Return the line of an event, with the present time."""
    return json.dumps({"time": round(time.time(), 3), "event": kind, **details}).encode() + b"\n"
