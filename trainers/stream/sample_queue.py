"""Prefetch samples in several threads, and deliver them in order."""

from __future__ import annotations

import ctypes
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol, Self

from attrs import define

from trainers.errors import StopRequestedError
from trainers.run.backoff import never
from trainers.run.sections import Section, section
from trainers.stream.sample import Sample

_PREFETCH_PER_WORKER = 2
"""One that it works on, and one that waits to be requested."""
_JOIN_TIMEOUT_S = 5.0
"""A thread that still waits for a disk or a server then is left behind: it is a daemon, and ends
after its read."""
_POLL_S = 0.2
"""How often a request that waits for its sample asks for a stop."""
_SWITCH_INTERVAL_S = 0.0005
"""With Python's default, 5 ms, a thread that returns from a kernel may wait ten times as long for
the GIL: as long as all the Python code of a sample takes."""
_M_ARENA_MAX = -8  # of glibc's malloc.h

_Job = tuple[int, int]
"""Iteration and index of a sample."""


class Worker(Protocol):
    """What makes samples, one at a time: a `SampleWorker`, or the handle of a worker process."""

    def sample(self, iteration: int, index: int) -> Sample: ...


@define
class QueueStats:
    """Counts over the samples that were requested since the last `pop_stats`."""

    num_asked: int = 0
    num_hits: int = 0
    """Samples that were ready when they were requested."""
    num_ready: int = 0
    """Depth of the queue at each request, summed."""
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
    def prefetch_hit_rate(self) -> float:
        """Prefetch hit rate: the fraction of the samples that nobody had to wait for."""
        return self.num_hits / max(self.num_asked, 1)


class SampleQueue:
    """A prefetch queue that delivers samples in order, however long each of them takes.

    The threads run from entering the `with` block until leaving it. They prefetch at most one
    batch, and two samples per worker.

    Args:
        workers: Each is entered and used by a thread of its own. An error on entering is raised by
            the samples that the worker would have made.
        indices: The samples of each batch that are to be made.
        should_stop: Polled while a sample is waited for.
    """

    def __init__(
        self,
        workers: Sequence[AbstractContextManager[Worker]],
        *,
        start_iteration: int,
        indices: range,
        should_stop: Callable[[], bool] = never,
    ) -> None:
        self._should_stop = should_stop
        self._max_prefetched = len(indices) + _PREFETCH_PER_WORKER * len(workers)
        self._jobs = (
            (iteration, index)
            for iteration in itertools.count(start_iteration)
            for index in indices
        )
        self._num_prefetched = 0
        self._answers: dict[_Job, Sample | BaseException] = {}
        self._is_closed = False
        self._changed = threading.Condition()
        """Guards all of this state."""
        self._threads = [
            threading.Thread(target=self._work, args=(worker,), name="samples", daemon=True)
            for worker in workers
        ]
        self._stats = QueueStats()

    def __enter__(self) -> Self:
        self._switch_interval_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        limit_malloc_arenas()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        deadline = time.monotonic() + _JOIN_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        sys.setswitchinterval(self._switch_interval_s)

    def sample(self, iteration: int, index: int) -> Sample:
        """Return the next sample. Request all of them, in order.

        Raises:
            StopRequestedError: A stop was requested while it was waited for.
            Exception: What its worker raised.
        """
        job = (iteration, index)
        requested = time.perf_counter()
        with self._changed:
            was_ready, num_ready = job in self._answers, self.num_ready
            while not self._changed.wait_for(lambda: job in self._answers, _POLL_S):
                if self._should_stop():
                    raise StopRequestedError("stopped while waiting for a sample")
            answer = self._answers.pop(job)
            self._num_prefetched -= 1
            self._changed.notify_all()
        self._stats.add(was_ready, num_ready, time.perf_counter() - requested)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @property
    def num_ready(self) -> int:
        """Samples that are ready and not yet requested."""
        return len(self._answers)

    def pop_stats(self) -> QueueStats:
        """Return the statistics since the last call, and reset them."""
        popped, self._stats = self._stats, QueueStats()
        return popped

    def _work(self, new_worker: AbstractContextManager[Worker]) -> None:
        try:
            with new_worker as worker:
                for job in self._due_jobs():
                    self._answer(job, partial(worker.sample, *job))
        except BaseException as error:  # the worker cannot start: its samples raise that
            failure = error
            for job in self._due_jobs():
                self._answer(job, partial(_fail, failure))

    def _due_jobs(self) -> Iterator[_Job]:
        """Yield jobs that no other thread has, each once there is room to prefetch it."""
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._is_closed or self._num_prefetched < self._max_prefetched
                )
                if self._is_closed:
                    return
                self._num_prefetched += 1
                job = next(self._jobs)
            yield job

    def _answer(self, job: _Job, make: Callable[[], Sample]) -> None:
        answer: Sample | BaseException
        try:
            with section(Section.DATA):
                answer = make()
        except BaseException as error:
            answer = error
        with self._changed:
            self._answers[job] = answer
            self._changed.notify_all()


def limit_malloc_arenas() -> None:
    """Let new threads share one of glibc's malloc arenas.

    By default each thread has its own. Decoded chunks that stay in the cache then lie scattered
    among the freed memory of samples, which cannot be returned: with a cache of 500 MB and 300
    datasets a process grew by 970 MB, and by 677 MB with one arena, at the same speed.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # musl has none
        libc.mallopt(_M_ARENA_MAX, 1)


def _fail(error: BaseException) -> Sample:
    raise error
