"""Spatial augments: mirrors and transpositions, rotations and elastic deformations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, max_len, min_len

from trainers.gp_augments.augment_config import AugmentConfig
from trainers.gp_augments.raw_augment_config import is_interval

if TYPE_CHECKING:
    import gunpowder as gp


@frozen(kw_only=True)
class SimpleAugmentConfig(AugmentConfig):
    """Mirrors of each axis with probability 1/2, and permutations of axes of equal voxel size.

    Right before an elastic augment it is free: both become one resampling.
    """

    thread_safe = True

    def node(
        self, raw_key: gp.ArrayKey, gt_key: gp.ArrayKey, mask_key: gp.ArrayKey
    ) -> gp.BatchFilter:
        from trainers.gp_augments.spatial_augment import SpatialAugment

        return SpatialAugment(is_simple=True)


@frozen(kw_only=True)
class ElasticAugmentConfig(AugmentConfig):
    """Rotation about the block's center, and smooth deformation between control points.

    After Ronneberger et al. (2015). Rotation is in physical space, so it is right for anisotropic
    voxels too.
    """

    thread_safe = True

    control_point_spacing: tuple[int, ...] = field(
        validator=and_(min_len(2), max_len(3), deep_iterable(ge(1)))
    )
    """Voxels between control points along each axis."""
    control_point_displacement_sigma: tuple[float, ...] = field(
        validator=and_(min_len(2), max_len(3), deep_iterable(ge(0)))
    )
    """Standard deviation of a control point's displacement along each axis, in nm."""
    rotation_interval: tuple[float, float] = field(validator=is_interval)
    """Interval of the angle in radians, in the plane of y and x."""
    subsample: int = field(default=1, validator=ge(1))
    """The deformation is computed every so many voxels, and linear in between."""
    uniform_3d_rotation: bool = False
    """Draw orientations in space uniformly; `rotation_interval` is then not used."""

    def __attrs_post_init__(self) -> None:
        num_axes = len(self.control_point_spacing)
        if len(self.control_point_displacement_sigma) != num_axes:
            raise ValueError(
                f"control_point_displacement_sigma has "
                f"{len(self.control_point_displacement_sigma)} values and control_point_spacing "
                f"has {num_axes}; give one of each per axis"
            )
        if self.uniform_3d_rotation and num_axes != 3:
            raise ValueError(
                f"uniform_3d_rotation needs 3 axes, found {num_axes}; use rotation_interval in 2-D"
            )

    def node(
        self, raw_key: gp.ArrayKey, gt_key: gp.ArrayKey, mask_key: gp.ArrayKey
    ) -> gp.BatchFilter:
        from trainers.gp_augments.spatial_augment import SpatialAugment

        return SpatialAugment(is_simple=False, elastic=self)

    def scaled(self, units_per_nm: int) -> ElasticAugmentConfig:
        sigma = tuple(each * units_per_nm for each in self.control_point_displacement_sigma)
        return attrs.evolve(self, control_point_displacement_sigma=sigma)

    def doubts(self, input_shape: tuple[int, ...]) -> tuple[str, ...]:
        return tuple(
            f"elastic augment: a control point every {spacing} voxels leaves fewer than 2 of them "
            f"in the {length} voxels of axis {axis}, so that hardly anything is bent; use a "
            f"control_point_spacing of at most {max(length // 2, 1)} there"
            for axis, (length, spacing) in enumerate(
                zip(input_shape, self.control_point_spacing, strict=False)
            )
            if round(length / spacing) < 2
        )
