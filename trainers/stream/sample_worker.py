"""Make samples, each a function of the run's seed, the iteration and the index alone."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from operator import floordiv
from typing import Self

import gunpowder as gp
import numpy as np
from gunpowder.nodes.batch_provider import BatchRequestError

from trainers.datasets.dataset import Dataset
from trainers.errors import StreamError, TrainerError, UnavailableError
from trainers.run.failure_class import is_of_this_moment
from trainers.stream.dataset_mixture import DatasetMixture, SampledDataset
from trainers.stream.pipeline import build_pipeline
from trainers.stream.sample import Sample
from trainers.stream.stream_spec import StreamSpec
from trainers.stream.volume_source import GT, MASK, RAW


class SampleWorker:
    """A worker that makes any sample of a stream, in any order. Use it in a `with` block.

    Not thread-safe: each thread has a worker of its own.

    Args:
        mixture: Of the same spec; workers in threads share one.

    Raises:
        ConfigError: On entering: an augment cannot be part of a stream.
        DataError: On entering: a dataset has no ground truth, or no location for a sample.
    """

    def __init__(self, spec: StreamSpec, mixture: DatasetMixture | None = None) -> None:
        self._spec = spec
        self._mixture = DatasetMixture(spec) if mixture is None else mixture
        self._resources = ExitStack()
        self._pipelines: dict[str, gp.Pipeline] = {}

    def __enter__(self) -> Self:
        self._mixture.open()
        try:
            # one now, so that a faulty augment fails at the start; the others when they are drawn
            self._pipeline(self._spec.datasets[0])
        except BaseException:
            self._resources.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._resources.close()

    def sample(self, iteration: int, index: int) -> Sample:
        """Make sample `index` of an iteration, both counted from 0.

        The process's global random states are left as they were: they belong to the training.

        Raises:
            TrainerError: A volume or an augment cannot be used, or a file of it is away.
            MemoryError: There is too little memory for it.
            StreamError: Anything else; with the traceback.
        """
        rng = np.random.default_rng([self._spec.seed, iteration, index])
        drawn = self._mixture.draw(rng)
        where = f"dataset {drawn.dataset.name!r}, iteration {iteration}, sample {index}"
        try:
            with nullcontext() if self._spec.thread_safe else _global_random_states_kept():
                return self._make(drawn, rng)
        except Exception as error:
            cause = _cause(error)
            if isinstance(cause, TrainerError):
                raise type(cause)(f"{where}: {cause}") from cause
            if isinstance(cause, MemoryError):
                raise MemoryError(f"{where}: {cause}") from cause
            if is_of_this_moment(cause):  # an augment may read files, too
                raise UnavailableError(f"{where}: {cause}") from cause
            text = "".join(traceback.format_exception(cause))
            raise StreamError(f"{where}: no sample could be made\n{text}") from cause

    def _pipeline(self, dataset: Dataset) -> gp.Pipeline:
        if dataset.name not in self._pipelines:
            pipeline = build_pipeline(dataset, self._spec.augments, clip_raw=self._spec.clip_raw)
            self._pipelines[dataset.name] = self._resources.enter_context(gp.build(pipeline))
        return self._pipelines[dataset.name]

    def _make(self, drawn: SampledDataset, rng: np.random.Generator) -> Sample:
        dataset, spec = drawn.dataset, self._spec
        voxel_size = dataset.raw.voxel_size
        voxel_size_nm = tuple(size / dataset.units_per_nm for size in voxel_size)
        output = drawn.location.pick(rng)
        border = gp.Coordinate(_half_difference(spec.input_shape, spec.output_shape))
        input_roi = gp.Roi(
            output.begin - border * voxel_size, gp.Coordinate(spec.input_shape) * voxel_size
        )
        known = spec.predictor.gt_region_for_roi(output, voxel_size, dataset.units_per_nm)

        # Without a seed, gunpowder takes one from the clock. It wants 32 bits.
        request = gp.BatchRequest(random_seed=int(rng.integers(2**32)))
        request[RAW] = gp.ArraySpec(roi=input_roi)
        request[GT] = request[MASK] = gp.ArraySpec(roi=known)
        batch = self._pipeline(dataset).request_batch(request)

        gt, mask = batch[GT].data, batch[MASK].data
        inner = ((output - known.begin) / voxel_size).to_slices()
        return Sample(
            raw=np.ascontiguousarray(batch[RAW].data),
            gt=np.ascontiguousarray(gt[inner]),
            target=spec.predictor.create_target(gt, voxel_size_nm),
            mask=np.ascontiguousarray(mask[inner]),
            target_mask=spec.predictor.create_mask(mask, gt, voxel_size_nm),
            dataset=dataset.name,
            begin=tuple(map(floordiv, output.begin, voxel_size)),
            begin_nm=_in_nm(dataset, output.begin),
        )


def _in_nm(dataset: Dataset, position: gp.Coordinate) -> tuple[float, ...]:
    """Convert world units, which begin at the first voxel of raw, to nm in the arrays' frame."""
    return tuple(
        offset + length / dataset.units_per_nm
        for offset, length in zip(dataset.raw.info.offset_nm, position, strict=True)
    )


def _half_difference(outer: Sequence[int], inner: Sequence[int]) -> tuple[int, ...]:
    return tuple((large - small) // 2 for large, small in zip(outer, inner, strict=True))


def _cause(error: BaseException) -> BaseException:
    """Return what a node raised, without the errors in which gunpowder wraps it, node by node."""
    while isinstance(error, BatchRequestError | gp.PipelineRequestError) and error.__context__:
        error = error.__context__
    return error


@contextmanager
def _global_random_states_kept() -> Iterator[None]:
    """Restore the global random states: every node of gunpowder seeds both at every request."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
