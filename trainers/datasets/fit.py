"""Whether the arrays of a dataset fit each other, and a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.dataset_config import DatasetConfig
from trainers.datasets.placement import offset_voxels, units_per_nm
from trainers.errors import DataError

Fault = tuple[str, str]
"""A key of the dataset's config, and what is wrong with its value."""


def dataset_faults(
    config: DatasetConfig,
    infos: Mapping[str, ArrayInfo],
    *,
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    output_scale: Sequence[float] | None = None,
) -> list[Fault]:
    """What does not fit; empty if the model can be trained with the dataset.

    Args:
        infos: What is known of `config.arrays`, under the same keys.
        input_shape, output_shape: Of the model, in voxels.
        output_scale: Voxel size of the output relative to the input's; None: equal.
    """
    ...
