"""The weighted mixture of datasets that samples are drawn from."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from trainers.run.sections import Section, section
from trainers.stream.stream_spec import StreamSpec

if TYPE_CHECKING:
    from trainers.datasets.dataset import Dataset
    from trainers.stream.random_location import RandomLocation

_NUM_THREADS = 8
"""Opening a dataset is mostly waiting for the file system."""


@frozen(eq=False)
class SampledDataset:
    """A dataset, and where in it samples are taken."""

    dataset: Dataset
    location: RandomLocation


class DatasetMixture:
    """All datasets of a stream. Threads may share it: the first one opens them, the others wait.

    Raises:
        DataError: On the first use: a dataset has no ground truth, or no location for a sample, or
            cannot be read.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._spec = spec
        weights = np.array([dataset.weight for dataset in spec.datasets], float)
        self._probabilities = weights / weights.sum()
        self._lock = threading.Lock()
        self._opened: Sequence[SampledDataset] | None = None

    def open(self) -> None:
        """Open all datasets, unless that is done."""
        with self._lock:
            if self._opened is None:
                with ThreadPoolExecutor(_NUM_THREADS) as pool:
                    try:
                        self._opened = list(pool.map(self._open, self._spec.datasets))
                    finally:  # after a failure: each of the others might wait for as long
                        pool.shutdown(cancel_futures=True)

    def draw(self, rng: np.random.Generator) -> SampledDataset:
        """Draw a dataset, with probabilities in proportion to the weights."""
        self.open()
        assert self._opened is not None
        return self._opened[rng.choice(len(self._opened), p=self._probabilities)]

    def _open(self, dataset: Dataset) -> SampledDataset:
        from trainers.stream.random_location import (
            RandomLocation,
        )  # importing numba takes half a second

        spec = self._spec
        with section(Section.DATA):  # on a thread of its own, whose progress counts there
            location = RandomLocation(
                dataset, block_shape=spec.output_shape, min_masked=spec.min_masked
            )
        return SampledDataset(dataset, location)
