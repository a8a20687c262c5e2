"""Deliver the samples of a run, batch by batch, in order."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Self

from trainers.imports import pause_gc_during_import
from trainers.run.backoff import never
from trainers.run.sections import Section, section
from trainers.stream.dataset_mixture import DatasetMixture
from trainers.stream.sample import Sample
from trainers.stream.sample_queue import QueueStats, SampleQueue, Worker
from trainers.stream.stream_spec import StreamSpec
from trainers.stream.worker_pool import WorkerPool, worker_processes


class SampleStream:
    """The batches of successive iterations; the same ones for any `num_workers`.

    Use it in a `with` block; it leaves no thread and no process running.

    Args:
        num_workers: Workers that prefetch samples: threads if all augments are thread-safe,
            processes otherwise; with 0, samples are made when they are requested.
        start_iteration: Iteration of the first batch; all the state that a resumed run needs.
        indices: The samples of each batch to make; by default all. A rank makes its own slice.
        worker_pool: Worker processes that were started early; by default new ones are started.
        should_stop: Polled while samples of prefetching workers are waited for. Reads have one of
            their own: see `Reading`.

    Raises:
        ConfigError: On entering: a part of the spec cannot be used.
    """

    def __init__(
        self,
        spec: StreamSpec,
        num_workers: int,
        start_iteration: int,
        indices: range | None = None,
        worker_pool: WorkerPool | None = None,
        should_stop: Callable[[], bool] = never,
    ) -> None:
        self._spec = spec
        self._num_workers = num_workers
        self._indices = range(spec.batch_size) if indices is None else indices
        self._iteration = start_iteration
        self._reserve = worker_pool or WorkerPool()
        self._should_stop = should_stop
        self._resources = ExitStack()
        self._worker: Worker

    def __enter__(self) -> Self:
        for augment in self._spec.augments:
            for warning in augment.doubts(self._spec.input_shape):
                warnings.warn(warning, stacklevel=2)
        with ExitStack() as stack:
            self._worker = stack.enter_context(self._new_worker())
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._resources.close()

    def next(self) -> list[Sample]:
        """Return the samples of the next iteration, in order of their index.

        Raises:
            DataError: A volume cannot be read, or holds unusable values.
            ConfigError: An augment cannot be applied.
            StreamError: Anything else went wrong; with the traceback of the worker.
            StopRequestedError: A stop was requested meanwhile.
        """
        with section(Section.DATA):
            samples = [self._worker.sample(self._iteration, index) for index in self._indices]
        self._iteration += 1
        return samples

    def pop_stats(self) -> QueueStats | None:
        """Return the prefetch statistics since the last call; None without workers."""
        return self._worker.pop_stats() if isinstance(self._worker, SampleQueue) else None

    @contextmanager
    def _new_worker(self) -> Iterator[Worker]:
        spec, number = self._spec, self._num_workers
        if number == 0:
            with _sample_worker(spec, DatasetMixture(spec)) as worker:
                yield worker
        elif spec.thread_safe:
            mixture = DatasetMixture(spec)
            with self._queue([_sample_worker(spec, mixture) for _ in range(number)]) as queue:
                yield queue
        else:
            with (
                worker_processes(spec, number, self._reserve) as workers,
                self._queue([nullcontext(worker) for worker in workers]) as queue,
            ):
                try:
                    yield queue
                finally:  # otherwise threads would wait for their answers
                    for worker in workers:
                        worker.kill()

    def _queue(self, workers: list[AbstractContextManager[Worker]]) -> SampleQueue:
        return SampleQueue(
            workers,
            start_iteration=self._iteration,
            indices=self._indices,
            should_stop=self._should_stop,
        )


@contextmanager
def _sample_worker(spec: StreamSpec, mixture: DatasetMixture) -> Iterator[Worker]:
    with pause_gc_during_import():
        from trainers.stream.sample_worker import SampleWorker  # importing gunpowder takes a second

    with SampleWorker(spec, mixture) as worker:
        yield worker
