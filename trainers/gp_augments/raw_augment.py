"""The gunpowder node of augments that change raw values only."""

from __future__ import annotations

from collections.abc import Callable

import gunpowder as gp
import numpy as np
import numpy.typing as npt

from trainers.errors import DataError
from trainers.gp_augments.raw_values import to_unit_range
from trainers.gp_augments.thread_safe_node import ThreadSafeNode

Raw = npt.NDArray[np.float32]


class RawAugment(ThreadSafeNode, gp.BatchFilter):  # type: ignore[misc]
    """A node that replaces raw, as float32, by `change(raw, rng)`, which may work in place.

    The generator is seeded with the request's seed.

    Args:
        within_0_1: Whether `change` is correct only for values within 0..1.
    """

    def __init__(
        self,
        raw_key: gp.ArrayKey,
        change: Callable[[Raw, np.random.Generator], Raw],
        *,
        within_0_1: bool,
    ) -> None:
        self._raw_key = raw_key
        self._change = change
        self._within_0_1 = within_0_1

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        upstream = request.copy()  # also maps the seed to another one: each node has its own
        batch = self.get_upstream_provider().request_batch(upstream)
        if self._raw_key in batch:
            raw = batch[self._raw_key]
            values = to_unit_range(raw.data)
            if self._within_0_1:
                _refuse_outside(values)
            rng = np.random.default_rng(upstream.random_seed)
            raw.data = self._change(values, rng).astype(np.float32, copy=False)
        return batch


def _refuse_outside(raw: Raw) -> None:
    low, high = raw.min(), raw.max()
    if not (low >= 0 and high <= 1):
        raise DataError(
            f"raw lies within {low:g}..{high:g}, and an intensity, gamma or noise augment needs "
            "0..1; set the `value_range` of the raw array, or leave clipping on in the augments "
            "before"
        )
