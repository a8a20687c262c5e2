"""The datasets that samples come from, ready for that."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from trainers.stream.stream_spec import StreamSpec

if TYPE_CHECKING:
    from trainers.datasets.dataset import Dataset
    from trainers.stream.random_location import RandomLocation

_NUM_THREADS = 8
"""Opening a dataset is mostly waiting."""


@frozen(eq=False)
class Origin:
    """One dataset, and where in it samples are taken."""

    dataset: Dataset
    location: RandomLocation


class DatasetMixture:
    """All datasets of a stream; threads may share it, and all wait for the first one to open them.

    Raises:
        DataError: On the first use: a dataset has no ground truth, or no place for a sample.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self._spec = spec
        weights = np.array([dataset.weight for dataset in spec.datasets], float)
        self._probabilities = weights / weights.sum()
        self._lock = threading.Lock()
        self._opened: Sequence[Origin] | None = None

    def open(self) -> None:
        """Be ready for `draw`."""
        with self._lock:
            if self._opened is None:
                with ThreadPoolExecutor(_NUM_THREADS) as pool:
                    self._opened = list(pool.map(self._open, self._spec.datasets))

    def draw(self, rng: np.random.Generator) -> Origin:
        """One of them, as often as their weights say."""
        self.open()
        assert self._opened is not None
        return self._opened[rng.choice(len(self._opened), p=self._probabilities)]

    def _open(self, dataset: Dataset) -> Origin:
        from trainers.stream.random_location import RandomLocation  # numba takes half a second

        spec = self._spec
        return Origin(
            dataset,
            RandomLocation(dataset, block_shape=spec.output_shape, min_masked=spec.min_masked),
        )
