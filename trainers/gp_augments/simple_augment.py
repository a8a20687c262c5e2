"""The gunpowder node that mirrors and transposes."""

from __future__ import annotations

import gunpowder as gp


class SimpleAugment(gp.SimpleAugment):  # type: ignore[misc]
    """gunpowder's own node, told which axes have the same voxel size."""

    def __init__(self, raw_key: gp.ArrayKey) -> None:
        super().__init__()
        self._raw_key = raw_key

    def setup(self) -> None:
        voxel_size = tuple(self.spec[self._raw_key].voxel_size)
        self.transpose_only = [
            axis for axis, size in enumerate(voxel_size) if voxel_size.count(size) > 1
        ]
        super().setup()
