"""The gunpowder node that reads a dataset."""

from __future__ import annotations

import gunpowder as gp

from trainers.gp_augments.pure_node import PureNode
from trainers.stream.volume_reader import VolumeReader

RAW = gp.ArrayKey("RAW")
GT = gp.ArrayKey("GT")
MASK = gp.ArrayKey("MASK")


class TensorStoreSource(PureNode):
    """Provides RAW, GT and MASK of one dataset, anywhere; all that is asked for is read at once."""

    def __init__(self, reader: VolumeReader) -> None:
        self._begin = {RAW: reader.begin_raw, GT: reader.begin_gt, MASK: reader.begin_mask}
        self._voxel_size = reader.gt.voxel_size

    def setup(self) -> None:
        everywhere = gp.Roi((None,) * self._voxel_size.dims, (None,) * self._voxel_size.dims)
        for key in self._begin:
            self.provides(
                key,
                gp.ArraySpec(
                    roi=everywhere, voxel_size=self._voxel_size, interpolatable=key == RAW
                ),
            )

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        pending = {key: self._begin[key](spec.roi) for key, spec in request.array_specs.items()}
        batch = gp.Batch()
        for key, wait in pending.items():
            spec = self.spec[key].copy()
            spec.roi = request[key].roi
            batch[key] = gp.Array(wait(), spec)
        return batch
