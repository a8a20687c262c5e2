"""The batches of a run, in order."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from trainers.stream.sample import Sample
from trainers.stream.stream_spec import StreamSpec
from trainers.stream.worker_pool import WorkerPool
from trainers.stream.worker_reserve import WorkerReserve

if TYPE_CHECKING:
    from trainers.stream.sample_maker import SampleMaker


class SampleStream:
    """Delivers the batch of one iteration after the other; the same ones for any `num_workers`.

    Use it in a `with` block; nothing of it is left running afterwards.

    Args:
        num_workers: Processes that make samples ahead of time; 0 makes them when asked, in here.
        start_iteration: The iteration of the first batch.
        indices: Make these samples of each batch only; by default all of them.
        reserve: Where the worker processes come from; by default each is started anew.

    Raises:
        ConfigError: On entering: a part of the spec cannot be used.
    """

    def __init__(
        self,
        spec: StreamSpec,
        num_workers: int,
        start_iteration: int,
        indices: range | None = None,
        reserve: WorkerReserve | None = None,
    ) -> None:
        self._spec = spec
        self._indices = range(spec.batch_size) if indices is None else indices
        self._iteration = start_iteration
        self._resources = ExitStack()
        self._maker: SampleMaker | WorkerPool
        if num_workers:
            self._maker = WorkerPool(
                spec,
                num_workers=num_workers,
                start_iteration=start_iteration,
                indices=self._indices,
                reserve=reserve or WorkerReserve(),
            )
        else:
            from trainers.stream.sample_maker import SampleMaker  # gunpowder takes a second

            self._maker = SampleMaker(spec)

    def __enter__(self) -> Self:
        for augment in self._spec.augments:
            for doubt in augment.doubts(self._spec.input_shape):
                warnings.warn(doubt, stacklevel=2)
        self._resources.enter_context(self._maker)
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
