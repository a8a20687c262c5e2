"""From volumes to augmented blocks."""

from __future__ import annotations

from collections.abc import Sequence

import gunpowder as gp

from trainers.errors import ConfigError
from trainers.gp_augments.augment_config import AugmentConfig
from trainers.stream.purity import refuse_impure
from trainers.stream.tensorstore_source import GT, MASK, RAW, TensorStoreSource
from trainers.stream.volume_reader import VolumeReader


def build_pipeline(reader: VolumeReader, augments: Sequence[AugmentConfig]) -> gp.Pipeline:
    """One dataset's pipeline, which provides RAW, GT and MASK after the augments, in their order.

    Raises:
        ConfigError: An augment's node is of no use here.
    """
    pipeline = gp.Pipeline(TensorStoreSource(reader))
    for augment in augments:
        node = augment.scaled(reader.dataset.units_per_nm).node(RAW, GT, MASK)
        if not isinstance(node, gp.BatchFilter):
            raise ConfigError(
                f"{augment!r} makes {node!r}; `node` must return one gunpowder.BatchFilter"
            )
        refuse_impure(node)
        pipeline += node
    return pipeline
