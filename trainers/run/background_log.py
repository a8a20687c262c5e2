"""Logs on a thread of its own: a log on a file system that hangs must not stop the training."""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextlib import suppress
from logging.handlers import QueueHandler, QueueListener
from queue import Full, Queue

MAX_WAITING = 10_000
"""Messages; further ones are dropped while the log cannot be written."""
FLUSH_TIMEOUT_S = 5.0

_waiting: Queue[logging.LogRecord] = Queue(MAX_WAITING)


class _Handler(QueueHandler):
    """Neither waits nor fails while the queue is full."""

    def enqueue(self, record: logging.LogRecord) -> None:
        with suppress(Full):
            self.queue.put_nowait(record)


def log_in_background() -> None:
    """Log to stderr with time and name; call it once in a process, and `flush_log` before its end.

    What user code prints is written as ever, and waits for the disk.
    """
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    to_queue = _Handler(_waiting)
    to_queue.setFormatter(logging.Formatter("%(message)s"))  # the rest is added by the other one
    logging.basicConfig(level=logging.INFO, handlers=[to_queue])
    QueueListener(_waiting, to_stderr).start()


def flush_log(timeout_s: float = FLUSH_TIMEOUT_S) -> None:
    """Wait until all messages so far, and what was printed, are written, for a while at most."""
    deadline = time.monotonic() + timeout_s
    with _waiting.all_tasks_done:
        _waiting.all_tasks_done.wait_for(lambda: not _waiting.unfinished_tasks, timeout_s)
    printed = threading.Thread(target=_flush_printed, daemon=True)
    printed.start()
    printed.join(max(0.0, deadline - time.monotonic()))


def _flush_printed() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
