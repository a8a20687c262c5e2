"""Bookkeeping on a thread of its own: no file system, however slow or broken, can stop the caller.

Bookkeeping is what no result of a run depends on: its state, events and metrics.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from attrs import Factory, define, frozen

from trainers.errors import LeaseLostError, UnavailableError
from trainers.run.backoff import FIRST_DELAY_S, MAX_DELAY_S
from trainers.run.sections import beat

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000
"""Writes that wait for one file: some megabytes of events."""
HANGS_AFTER_S = 30.0
"""A write that takes longer is reported, like one that fails."""
_BEAT_S = 1.0


class RecordWriter:
    """Writes the records of one folder; `put` neither blocks nor raises, on whatever thread.

    A write that fails is tried again, with backoff, for as long as the process lives. The log has
    one line when a file cannot be written, and one when it can be again. Writes of one file are
    made in order; files do not wait for each other, except while a call to the file system hangs.
    Use one writer for each folder, so that folders do not wait for each other either.

    The thread starts with the first write, and does not keep the process from exiting.
    """

    def __init__(self, *, name: str = "records") -> None:
        self._name = name
        self._changed = threading.Condition()
        self._files: dict[Path, _File] = {}
        self._in_progress: tuple[_File, _Write] | None = None
        self._began_at = 0.0
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def put(
        self,
        path: Path,
        write: Callable[[], None],
        *,
        replaces: bool = False,
        delay_s: float = 0.0,
    ) -> None:
        """Have the thread call `write`, after the earlier writes of the same file.

        Args:
            path: The file that is written; names it in the log.
            write: Called again after it has raised OSError or UnavailableError, until it returns;
                so it must start over then, or go on where it was. Any other exception ends it.
            replaces: Drop writes of this file that are still waiting: this one covers them.
            delay_s: Seconds for which it may wait for more to write, unless `flush` is called.
        """
        with self._changed:
            if self._is_closed:
                return
            file = self._files.setdefault(path, _File(path))
            if replaces:
                file.waiting.clear()
            if len(file.waiting) >= MAX_WAITING:
                file.num_dropped += 1
            else:
                if delay_s and not file.waiting:
                    file.not_before = max(file.not_before, time.monotonic() + delay_s)
                file.num_put += 1
                file.waiting.append(_Write(file.num_put, write, replaces))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()
            hanging = self._newly_hanging()
        if hanging:
            logger.warning(
                "writing %s has taken more than %.0f s; nothing else waits for it",
                hanging.path,
                HANGS_AFTER_S,
            )

    def flush(self, timeout_s: float, path: Path | None = None) -> None:
        """Return once everything that was put before is written; what has failed is tried at once.

        Args:
            timeout_s: Seconds after which neither failing nor hanging writes are waited for.
            path: The only file to wait for; None for all.

        Raises:
            OSError: Something is not written yet; the error of the last try, about that file.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            files = [file for file in self._files.values() if path in (None, file.path)]
            # What is put meanwhile is not waited for, which would never end while a run is busy.
            goals = {file: file.num_put for file in files}
            for file in files:
                file.not_before, file.delay_s = 0.0, FIRST_DELAY_S
            self._changed.notify_all()
            for file, goal in goals.items():
                while file.num_written < goal:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise _as_os_error(file.error, file.path)
                    beat()  # this has a bound of its own
                    self._changed.wait(min(left, _BEAT_S))

    def close(self, timeout_s: float) -> None:
        """Flush, and log what is lost if that takes longer; nothing can be put afterwards."""
        deadline = time.monotonic() + timeout_s
        for file in list(self._files.values()):
            try:
                self.flush(max(0.0, deadline - time.monotonic()), file.path)
            except OSError as error:
                num_lost = file.num_put - file.num_written + file.num_dropped
                logger.error("cannot write %s: %s; lost: %s", file.path, error.strerror, num_lost)
        with self._changed:
            self._end()

    def _newly_hanging(self) -> _File | None:
        """Return the file whose write hangs, once."""
        if self._in_progress is None or time.monotonic() < self._began_at + HANGS_AFTER_S:
            return None
        file, _ = self._in_progress
        if file.failing_since is not None:
            return None
        file.failing_since = self._began_at
        return file

    def _work(self) -> None:
        while True:
            file, write = self._next()
            try:
                write.call()
            except (OSError, UnavailableError) as error:
                self._failed(file, write, error)
            except Exception as error:
                self._gave_up(file, write, error)
            else:
                self._succeeded(file, write)

    def _next(self) -> tuple[_File, _Write]:
        with self._changed:
            while True:
                now = time.monotonic()
                waiting = [file for file in self._files.values() if file.waiting]
                for file in waiting:
                    if file.not_before <= now:
                        self._began_at = now
                        self._in_progress = file, file.waiting.popleft()
                        return self._in_progress
                not_before = min((file.not_before for file in waiting), default=None)
                self._changed.wait(None if not_before is None else not_before - now)

    def _succeeded(self, file: _File, write: _Write) -> None:
        with self._changed:
            failing_since, num_dropped = file.failing_since, file.num_dropped
            file.failing_since, file.num_dropped, file.error = None, 0, None
            file.delay_s = FIRST_DELAY_S
            self._ended(file, write)
        if failing_since is not None:
            logger.warning(
                "%s can be written again, after %.0f s; lost meanwhile: %d",
                file.path,
                time.monotonic() - failing_since,
                num_dropped,
            )

    def _failed(self, file: _File, write: _Write, error: Exception) -> None:
        with self._changed:
            is_new = file.failing_since is None
            if is_new:
                file.failing_since = self._began_at
            file.error = error
            file.not_before = time.monotonic() + file.delay_s
            file.delay_s = min(2 * file.delay_s, MAX_DELAY_S)
            self._in_progress = None
            is_replaced = file.waiting and file.waiting[0].replaces
            if not is_replaced and not self._is_closed:
                file.waiting.appendleft(write)
        if is_new:
            reason = _as_os_error(error, file.path).strerror
            logger.warning("cannot write %s, which nothing waits for: %s", file.path, reason)

    def _gave_up(self, file: _File, write: _Write, error: Exception) -> None:
        with self._changed:
            if isinstance(error, LeaseLostError):  # the folder is another process's from now on
                self._end()
            self._ended(file, write)
        logger.error("cannot write %s: %r", file.path, error)

    def _ended(self, file: _File, write: _Write) -> None:
        self._in_progress = None
        file.num_written = max(file.num_written, write.number)
        self._changed.notify_all()

    def _end(self) -> None:
        self._is_closed = True
        for file in self._files.values():
            file.waiting.clear()
            file.num_written = file.num_put
        self._changed.notify_all()


@frozen
class _Write:
    number: int
    call: Callable[[], None]
    replaces: bool


@define(eq=False)
class _File:
    path: Path
    waiting: deque[_Write] = Factory(deque)
    num_put: int = 0
    """Number of the last write that was put."""
    num_written: int = 0
    """Number of the last write that has ended."""
    num_dropped: int = 0
    failing_since: float | None = None
    error: Exception | None = None
    delay_s: float = FIRST_DELAY_S
    not_before: float = 0.0


def _as_os_error(error: Exception | None, path: Path) -> OSError:
    if isinstance(error, OSError):
        return OSError(error.errno, error.strerror or str(error), str(path))
    if error is not None:
        return OSError(errno.EIO, str(error), str(path))
    return OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), str(path))
