"""Turns: how many runs of an experiment are open at W&B at once, and how fast they begin.

W&B refuses more than some hundred connections of an account, and each run that is open keeps some.
A run that has had its turn while others wait closes its W&B run and waits for another turn; its
rows are in metrics.jsonl meanwhile. This is a limiter and no lock: two processes that take the same
turn at once do no harm.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from trainers.run.lease_file import file_system_time

MAX_OPEN = 75
"""Runs of an experiment; each has up to four connections, of the 300 that W&B allows."""
STARTS_PER_S = 10.0
TURN_S = 120.0
_POLL_S = 10.0
_RENEW_S = 20.0
_TTL_S = 90.0
"""A turn that was not renewed for so long is free: its holder was killed."""
_WAITING = "waiting"


class Turns:
    """The turns of the runs that lie in one folder, for one of them.

    Each turn is a file in `folder`, renewed by its holder. Where it cannot be written, or with few
    runs, all runs may go at once.

    Args:
        folder: Hidden, beside the runs; None for no bound.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder or Path()
        self._num_runs = self._count_runs() if folder else 1
        self._mine: Path | None = None
        self._ends_at = self._renew_at = 0.0

    def first_delay_s(self) -> float:
        """Return how long to wait before the first turn, so that not all runs begin at once."""
        if self._num_runs <= STARTS_PER_S:
            return 0.0
        return random.SystemRandom().uniform(0.0, self._num_runs / STARTS_PER_S)

    @contextmanager
    def turn(self, closing: threading.Event) -> Iterator[bool]:
        """Hold a turn while the body runs; wait for it until `closing`; yield whether there is one.

        One is held from the first moment, if there is room.
        """
        if self._num_runs <= MAX_OPEN:
            self._ends_at = float("inf")
            yield True
            return
        # A thousand runs that wait look at the folder no more often than a hundred.
        poll_s = max(_POLL_S, self._num_runs / STARTS_PER_S)
        while not self._try_take():
            if closing.wait(poll_s * random.SystemRandom().uniform(0.75, 1.25)):
                yield False
                return
        try:
            yield True
        finally:
            self._release()

    def is_over(self) -> bool:
        """Return whether this run has had its turn, and others wait for one; renew it otherwise."""
        now = time.monotonic()
        if self._mine is not None and now >= self._renew_at:
            self._renew_at = now + _RENEW_S
            with suppress(OSError):
                os.utime(self._mine)
        return now >= self._ends_at and self._is_waited_for()

    def _count_runs(self) -> int:
        with suppress(OSError), os.scandir(self._folder.parent) as entries:
            return sum(not entry.name.startswith(".") for entry in entries)
        return 1

    def _try_take(self) -> bool:
        """Take a turn if there is room, or if the folder cannot be used."""
        try:
            self._folder.mkdir(exist_ok=True)
            if self._num_held() >= MAX_OPEN:
                (self._folder / _WAITING).touch()
                return False
            self._mine = self._folder / f"turn-{uuid4().hex}"
            self._mine.touch()
            if self._num_held() > MAX_OPEN:  # others took the last ones at the same time
                self._release()
                return False
        except OSError:
            self._mine = None
        self._ends_at = time.monotonic() + TURN_S
        self._renew_at = time.monotonic() + _RENEW_S
        return True

    def _num_held(self) -> int:
        """Return how many turns are held; remove those whose holders were killed."""
        now = file_system_time(self._folder)
        held = 0
        for turn in self._folder.glob("turn-*"):
            with suppress(FileNotFoundError):
                if turn.stat().st_mtime > now - _TTL_S:
                    held += 1
                else:
                    turn.unlink()
        return held

    def _release(self) -> None:
        if self._mine is not None:
            with suppress(OSError):
                self._mine.unlink(missing_ok=True)
            self._mine = None

    def _is_waited_for(self) -> bool:
        with suppress(OSError):
            waited_at = (self._folder / _WAITING).stat().st_mtime
            return waited_at > file_system_time(self._folder) - 3 * _POLL_S
        return False
