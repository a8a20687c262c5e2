"""What a supervisor reads and writes about its pack and members, on threads of their own.

A disk that is full, fails or hangs delays these records; it stops no supervisor and no neighbor.
What is not written by the end of a job is found out at its next start: `record_end` tells how.
"""

from __future__ import annotations

import errno
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs
from attrs import define

from launcher import file_lock
from launcher.errors import LockHeldError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.attempt_end import AttemptEnd
from launcher.job.pack import PackEventKind, append_pack_event
from launcher.job.record_end import count_end
from launcher.job.unfinished_members import CANCELLED, is_of_pack, is_unfinished
from trainers.config.run_config import RetriesConfig
from trainers.errors import LeaseLostError, UnavailableError
from trainers.run import lease
from trainers.run.atomic_write import atomic_write
from trainers.run.record_writer import RecordWriter
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import (
    EventKind,
    RunState,
    Status,
    append_event,
    read_state,
    write_state,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LOCK_TIMEOUT_S = 5.0
_CANCEL_POLL_S = 0.5
_READ_POLL_S = 0.1


@define(eq=False)
class Pending(Generic[T]):
    """An answer that waits for the disk."""

    is_done: bool = False
    answer: T | None = None
    error: Exception | None = None
    """Why there will be no answer: the state of the run is damaged."""


class PackRecords:
    """The events of a pack, and the small files by which the nodes of its job coordinate."""

    def __init__(self, folder: PackFolder) -> None:
        self._folder = folder
        self._writer = RecordWriter(name=f"records of {folder.name}")
        self._read: dict[Path, dict[str, Any]] = {}
        self._ended = threading.Event()

    def put_event(self, kind: PackEventKind, **details: Any) -> None:
        """Append an event, with the time of now."""
        event = partial(append_pack_event, self._folder, kind, **{"time": _now(), **details})
        self._writer.put(self._folder.events, event)

    def replace(self, path: Path, content: Mapping[str, Any]) -> None:
        """Replace a small JSON file."""
        self._writer.put(path, partial(_write_json, path, content), replaces=True)

    def latest(self, path: Path) -> dict[str, Any]:
        """Return what a small JSON file held when it could last be read; {} if it never could.

        A thread reads it, from the first call on.
        """
        if not self._read:
            threading.Thread(target=self._keep_reading, name="messages", daemon=True).start()
        return self._read.setdefault(path, {})

    def flush(self, timeout_s: float, path: Path | None = None) -> None:
        """Wait until everything, or one file, is written.

        Raises:
            OSError: It is still not.
        """
        self._writer.flush(timeout_s, path)

    def close(self, timeout_s: float) -> None:
        """Wait for what is not written yet; say what is lost."""
        self._ended.set()
        self._writer.close(timeout_s)

    def _keep_reading(self) -> None:
        while not self._ended.wait(_READ_POLL_S):
            for path in list(self._read):
                with suppress(OSError, TypeError, ValueError):
                    self._read[path] = dict(json.loads(path.read_bytes()))


class MemberRecords:
    """The states and events of a pack's members.

    Each run has a thread of its own, and a lock that is held only while its state is read, changed
    and written. Nothing is written once the fence of the pack's folder has raised.
    """

    def __init__(
        self, folder: PackFolder, on_end: Callable[[str], None] = lambda name: None
    ) -> None:
        """
        Args:
            on_end: Called with the name of a run once the end of an attempt is written.
        """
        self._folder = folder
        self._on_end = on_end
        self._writers: dict[RunFolder, RecordWriter] = {}
        self._changed = threading.Event()
        self._lease_lost: LeaseLostError | None = None

    def wait(self, timeout_s: float) -> None:
        """Sleep until an answer has come, or for so long.

        Raises:
            LeaseLostError: Another supervisor has taken over the pack.
        """
        self._changed.wait(timeout_s)
        self._changed.clear()
        if self._lease_lost:
            raise self._lease_lost

    def start(self, run: RunFolder) -> Pending[int | None]:
        """Mark a run as running, and answer the number of its attempt.

        The answer is None for a run that is over, cancelled, or assigned to another pack. The mark
        comes before the processes, so that nothing else starts the run.
        """
        return self._decide(run, partial(self._start, run))

    def take_back_start(self, run: RunFolder) -> Pending[None]:
        """Record that a run that was marked as running has not been started after all."""

        def take_back() -> None:
            state = read_state(run)
            if is_of_pack(self._folder, state) and state.status == Status.RUNNING:
                write_state(run, attrs.evolve(state, status=Status.WAITING))

        return self._decide(run, take_back)

    def end(
        self,
        run: RunFolder,
        retries: RetriesConfig,
        find_end: Callable[[RunState], AttemptEnd | None],
    ) -> Pending[tuple[RunState, AttemptEnd] | None]:
        """Count the end of an attempt, and answer the new state of the run.

        The answer is None if there is nothing to count, or the run is assigned to another pack.

        Args:
            find_end: Tells the end from the state so far; None if there is nothing to count.
        """
        ended_at = _now()
        end: AttemptEnd | None = None
        written: RunState | None = None

        def count() -> tuple[RunState, AttemptEnd] | None:
            nonlocal end, written
            state = read_state(run)
            # A write may fail after it has replaced the file: nothing is counted or told twice.
            if end and written and state == written:
                self._on_end(run.name)
                return written, end
            if not is_of_pack(self._folder, state):
                return None
            end = end or find_end(state)
            if end is None:
                return None
            new_state, details = count_end(state, end, retries)
            if written is None:
                # Before the state: whoever sees that the attempt has ended finds the event, too.
                append_event(run, EventKind.ENDED, **{"time": ended_at, **details})
            written = new_state
            write_state(run, new_state)
            self._on_end(run.name)
            return new_state, end

        return self._decide(run, count)

    def put_event(self, run: RunFolder, kind: EventKind, **details: Any) -> None:
        """Append an event, with the time of now."""
        event = partial(append_event, run, kind, **{"time": _now(), **details})
        self._writer(run).put(run.state, event)  # in one order with the states

    def close(self, timeout_s: float) -> None:
        """Wait for what is not written yet; say what is lost."""
        deadline = time.monotonic() + timeout_s
        for writer in self._writers.values():
            writer.close(max(0.0, deadline - time.monotonic()))

    def _start(self, run: RunFolder) -> int | None:
        state = read_state(run)
        if not is_unfinished(self._folder, state):
            return None
        if run.cancel_request.exists():
            write_state(run, attrs.evolve(state, status=Status.CANCELLED, reason=CANCELLED))
            return None
        attempt = max(state.num_attempts, _attempt_after_lease(run))
        write_state(run, attrs.evolve(state, status=Status.RUNNING, reason=""))
        return attempt

    def _decide(self, run: RunFolder, decide: Callable[[], T]) -> Pending[T]:
        """Have a function read and write the state of a run, under its lock and the fence."""
        pending: Pending[T] = Pending()

        def write() -> None:
            try:
                with file_lock.hold(run.state_lock, timeout_s=_LOCK_TIMEOUT_S):
                    self._folder.fence()
                    pending.answer = decide()
            except LockHeldError as error:
                raise OSError(errno.EBUSY, str(error), str(run.state)) from error
            except (OSError, UnavailableError):
                raise  # it is tried again
            except LeaseLostError as error:
                self._lease_lost = error
                self._changed.set()
                raise
            except Exception as error:
                pending.error = error
            pending.is_done = True
            self._changed.set()

        self._writer(run).put(run.state, write)
        return pending

    def _writer(self, run: RunFolder) -> RecordWriter:
        return self._writers.setdefault(run, RecordWriter(name=f"records of {run.name}"))


class CancelRequests:
    """Which runs are to be cancelled; a thread looks, so that a disk that hangs stops nobody."""

    def __init__(self, runs: Iterable[RunFolder]) -> None:
        self._runs = tuple(runs)
        self._found: frozenset[RunFolder] = frozenset()
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="cancel requests", daemon=True).start()

    def __contains__(self, run: RunFolder) -> bool:
        return run in self._found

    def stop(self) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.is_set():
            self._found = frozenset(run for run in self._runs if self._is_requested(run))
            self._ended.wait(_CANCEL_POLL_S)

    def _is_requested(self, run: RunFolder) -> bool:
        try:
            return run.cancel_request.exists()
        except OSError:
            return run in self._found


def _attempt_after_lease(run: RunFolder) -> int:
    """Return a number above that of an attempt that was never counted and may still be alive.

    A lease is taken over at once only by a later attempt of the same owner.
    """
    record = lease.read_lease(run.lease)
    return record.attempt + 1 if record and not record.released else 0


def _now() -> float:
    return round(time.time(), 3)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as file:
        file.write(json.dumps(content).encode())
