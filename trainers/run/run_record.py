"""State and events of a run, as the process that trains it records them."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import attrs

from trainers.run.atomic_write import append_line
from trainers.run.record_writer import RecordWriter
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import (
    EventKind,
    RunState,
    Status,
    event_line,
    parse_state,
    write_state,
)


class RunRecord:
    """State and events of a run, as the process that holds its lease records them.

    Nothing here waits for the file system, except `flush` and `close`, or raises; any thread may
    call it. See `RecordWriter`, which does the writing.

    Args:
        folder: With the fence of the lease.
        state: As read from the folder.
    """

    def __init__(self, folder: RunFolder, state: RunState) -> None:
        self.folder = folder
        self.writer = RecordWriter()
        self.concerns: dict[str, str] = {}
        """What is amiss beside the training itself, by part; joins `RunState.concern`."""
        self._lock = threading.Lock()
        self._state = state
        self._changes: dict[str, Any] = {}

    @property
    def state(self) -> RunState:
        """The state with all updates, whether they are written yet or not."""
        return self._state

    def update(self, **changes: Any) -> None:
        """Change fields of the state; others stay as they are on disk."""
        with self._lock:
            self._changes |= changes
            self._state = attrs.evolve(self._state, **changes)
        self.writer.put(self.folder.state, self._write_state, replaces=True)

    def event(self, kind: EventKind | Status, **details: Any) -> None:
        """Add a line to `events.jsonl`, with the present time."""
        line = event_line(kind, details)
        append = partial(append_line, self.folder.events, line, fence=self.folder.fence)
        self.writer.put(self.folder.events, append)

    def flush(self, timeout_s: float) -> None:
        """Wait until all is written; see `RecordWriter.flush`."""
        self.writer.flush(timeout_s)

    def close(self, timeout_s: float) -> None:
        """Write what is waiting; log what is lost if that takes longer than allowed."""
        self.writer.close(timeout_s)

    def _write_state(self) -> None:
        try:
            # Read again, since the launcher may have changed other fields.
            recorded = parse_state(self.folder.state.read_bytes())
        except (FileNotFoundError, TypeError, ValueError):
            recorded = self._state  # an NFS client may see no file for a moment, or half of it
        with self._lock:
            self._state = attrs.evolve(recorded, **self._changes)
            state = self._state
        write_state(self.folder, state)
