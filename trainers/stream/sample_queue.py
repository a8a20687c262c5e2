"""Make samples ahead of time, in several threads."""

from __future__ import annotations

import ctypes
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from attrs import define

from trainers.stream.sample import Sample

_M_ARENA_MAX = -8


def limit_malloc_arenas() -> None:
    """Have glibc's new threads share a heap.

    With one for each, decoded chunks that stay in the cache lie scattered among what samples have
    left behind, and memory grows to twice of what is in use; with one it does not, and is no
    slower.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)


@define
class QueueStats:
    """Counted over the samples that were asked for since the last look."""

    num_asked: int = 0
    num_hits: int = 0
    """Those that were ready when they were asked for."""
    num_ready: int = 0
    """Samples that were ready then, added up: the depth of the queue."""
    wait_s: float = 0.0

    def add(self, was_ready: bool, num_ready: int, wait_s: float) -> None:
        self.num_asked += 1
        self.num_hits += was_ready
        self.num_ready += num_ready
        self.wait_s += wait_s

    @property
    def mean_depth(self) -> float:
        return self.num_ready / max(self.num_asked, 1)

    @property
    def hit_rate(self) -> float:
        return self.num_hits / max(self.num_asked, 1)


_AHEAD_PER_MAKER = 2
"""One that it works on, and one that waits to be asked for."""
_PATIENCE_S = 5.0
"""A thread that waits for a disk or a server for longer is left behind; it ends by itself."""

_SWITCH_INTERVAL_S = 0.0005
"""Otherwise a thread that comes out of a kernel may wait ten times as long for one in Python."""

_Job = tuple[int, int]
"""Iteration and index."""


class Maker(Protocol):
    """Makes samples, one at a time."""

    def sample(self, iteration: int, index: int) -> Sample: ...


class SampleQueue:
    """Delivers samples in order, whoever makes them and however long each takes.

    The threads run from entering the `with` block until leaving it. Ahead of what was asked for
    they make the samples of a batch, and two each.

    Args:
        makers: Each is entered and used by a thread of its own. What goes wrong on entering is what
            its samples end with.
        indices: Of the samples of each batch that are to be made.
    """

    def __init__(
        self,
        makers: Sequence[AbstractContextManager[Maker]],
        *,
        start_iteration: int,
        indices: range,
    ) -> None:
        self._max_ahead = len(indices) + _AHEAD_PER_MAKER * len(makers)
        self._jobs = (
            (iteration, index)
            for iteration in itertools.count(start_iteration)
            for index in indices
        )
        self._num_ahead = 0
        self._answers: dict[_Job, Sample | BaseException] = {}
        self._is_closed = False
        self._changed = threading.Condition()
        """Guards all of this state."""
        self._threads = [
            threading.Thread(target=self._work, args=(maker,), name="samples", daemon=True)
            for maker in makers
        ]
        self._figures = QueueStats()

    def __enter__(self) -> Self:
        self._switch_interval_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        limit_malloc_arenas()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        deadline = time.monotonic() + _PATIENCE_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        sys.setswitchinterval(self._switch_interval_s)

    def sample(self, iteration: int, index: int) -> Sample:
        """The next sample; ask for all of them, in order.

        Raises:
            Exception: What its maker has raised.
        """
        job = (iteration, index)
        asked = time.perf_counter()
        with self._changed:
            was_ready, num_ready = job in self._answers, self.num_ready
            self._changed.wait_for(lambda: job in self._answers)
            answer = self._answers.pop(job)
            self._num_ahead -= 1
            self._changed.notify_all()
        self._figures.add(was_ready, num_ready, time.perf_counter() - asked)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @property
    def num_ready(self) -> int:
        """Samples that are made, and wait to be asked for."""
        return len(self._answers)

    def pop_stats(self) -> QueueStats:
        """How the samples since the last call came."""
        taken, self._figures = self._figures, QueueStats()
        return taken

    def _work(self, new_maker: AbstractContextManager[Maker]) -> None:
        try:
            with new_maker as maker:
                for job in self._jobs_in_time():
                    self._answer(job, partial(maker.sample, *job))
        except BaseException as error:
            failure = error
            for job in self._jobs_in_time():
                self._answer(job, partial(_fail, failure))

    def _jobs_in_time(self) -> Iterator[_Job]:
        """Jobs that nobody else works on, each when it is time for it."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._num_ahead < self._max_ahead)
                if self._is_closed:
                    return
                self._num_ahead += 1
                job = next(self._jobs)
            yield job

    def _answer(self, job: _Job, make: Callable[[], Sample]) -> None:
        answer: Sample | BaseException
        try:
            answer = make()
        except BaseException as error:
            answer = error
        with self._changed:
            self._answers[job] = answer
            self._changed.notify_all()


def _fail(error: BaseException) -> Sample:
    raise error
