"""The batches of a run, in order."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import TracebackType
from typing import Self

from trainers.imports import pause_gc_during_import
from trainers.stream.dataset_mixture import DatasetMixture
from trainers.stream.sample import Sample
from trainers.stream.sample_queue import Maker, QueueStats, SampleQueue
from trainers.stream.stream_spec import StreamSpec
from trainers.stream.worker_pool import WorkerPool, worker_processes


class SampleStream:
    """Delivers the batch of one iteration after the other; the same ones for any `num_workers`.

    Use it in a `with` block; nothing of it is left running afterwards.

    Args:
        num_workers: How many make samples ahead of time: threads, or processes if an augment is not
            fit for threads; 0 makes them when asked.
        start_iteration: The iteration of the first batch.
        indices: Make these samples of each batch only; by default all of them.
        reserve: Where worker processes come from; by default each is started anew.

    Raises:
        ConfigError: On entering: a part of the spec cannot be used.
    """

    def __init__(
        self,
        spec: StreamSpec,
        num_workers: int,
        start_iteration: int,
        indices: range | None = None,
        reserve: WorkerPool | None = None,
    ) -> None:
        self._spec = spec
        self._num_workers = num_workers
        self._indices = range(spec.batch_size) if indices is None else indices
        self._iteration = start_iteration
        self._reserve = reserve or WorkerPool()
        self._resources = ExitStack()
        self._maker: Maker

    def __enter__(self) -> Self:
        for augment in self._spec.augments:
            for doubt in augment.doubts(self._spec.input_shape):
                warnings.warn(doubt, stacklevel=2)
        with ExitStack() as stack:
            self._maker = stack.enter_context(self._new_maker())
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._resources.close()

    def next(self) -> list[Sample]:
        """The samples of the next iteration, by index.

        Raises:
            DataError: A volume does not allow what is asked for.
            ConfigError: An augment does not.
            StreamError: Anything else went wrong; holds the traceback of where it did.
        """
        samples = [self._maker.sample(self._iteration, index) for index in self._indices]
        self._iteration += 1
        return samples

    def pop_stats(self) -> QueueStats | None:
        """How the samples since the last call came; None if they are made when asked for."""
        return self._maker.pop_stats() if isinstance(self._maker, SampleQueue) else None

    @contextmanager
    def _new_maker(self) -> Iterator[Maker]:
        spec, number = self._spec, self._num_workers
        if number == 0:
            with _sample_maker(spec, DatasetMixture(spec)) as maker:
                yield maker
        elif spec.thread_safe:
            origins = DatasetMixture(spec)
            with self._queue([_sample_maker(spec, origins) for _ in range(number)]) as queue:
                yield queue
        else:
            with (
                worker_processes(spec, number, self._reserve) as workers,
                self._queue([nullcontext(worker) for worker in workers]) as queue,
            ):
                try:
                    yield queue
                finally:  # so that no thread waits for an answer
                    for worker in workers:
                        worker.kill()

    def _queue(self, makers: list[AbstractContextManager[Maker]]) -> SampleQueue:
        return SampleQueue(makers, start_iteration=self._iteration, indices=self._indices)


@contextmanager
def _sample_maker(spec: StreamSpec, origins: DatasetMixture) -> Iterator[Maker]:
    with pause_gc_during_import():
        from trainers.stream.sample_worker import SampleWorker  # gunpowder takes a second

    with SampleWorker(spec, origins) as maker:
        yield maker
