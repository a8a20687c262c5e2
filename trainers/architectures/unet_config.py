"""The config of the U-Net, and the shapes that work for it. Light: imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Literal, get_args

from attrs import field, frozen
from attrs.validators import deep_iterable, ge, in_, min_len

from trainers.architectures.architecture_config import ArchitectureConfig

if TYPE_CHECKING:
    import torch

Padding = Literal["valid", "same"]
Normalization = Literal["none", "group"]


@frozen(kw_only=True)
class UNetConfig(ArchitectureConfig):
    """A U-Net with two convolutions of 3 voxels per level, both on the way down and up."""

    num_features: int = field(default=12, validator=ge(1))
    """Number of features at full resolution."""
    feature_factor: int = field(default=2, validator=ge(1))
    """Factor between the numbers of features of successive levels."""
    downsample_factors: tuple[tuple[int, ...], ...] = field(
        validator=[min_len(1), deep_iterable(deep_iterable(ge(1)))]
    )
    """Per level, one factor for each axis; by default two levels of 2."""
    padding: Padding = field(default="valid", validator=in_(get_args(Padding)))
    """`valid` keeps voxels whose receptive field lies in the input; `same` pads with zeros."""
    normalization: Normalization = field(default="none", validator=in_(get_args(Normalization)))
    """`group` is nn.GroupNorm with one group: outputs then depend on all of the input block."""

    @downsample_factors.default
    def _twice_by_2(self) -> tuple[tuple[int, ...], ...]:
        return ((2,) * len(self.input_shape),) * 2

    def __attrs_post_init__(self) -> None:
        for factors in self.downsample_factors:
            if len(factors) != len(self.input_shape):
                raise ValueError(
                    f"downsample_factors: found {list(factors)}; must have one factor for each of "
                    f"the {len(self.input_shape)} axes of input_shape {list(self.input_shape)}"
                )
        self._check_input_shape()

    @property
    def shrinkage(self) -> int:
        """Voxels that the two convolutions of one level remove along every axis."""
        return 4 if self.padding == "valid" else 0

    @property
    def output_shape(self) -> tuple[int, ...]:
        return tuple(
            output_size(size, factors, shrinkage=self.shrinkage)
            for size, factors in zip(self.input_shape, self._factors_by_axis, strict=True)
        )

    @property
    def out_channels(self) -> int:
        return self.num_features

    @property
    def is_all_state(self) -> bool:
        return True

    def build(self, in_channels: int) -> torch.nn.Module:
        from trainers.architectures.unet import UNet

        return UNet(self, in_channels)

    @property
    def _factors_by_axis(self) -> tuple[tuple[int, ...], ...]:
        return tuple(zip(*self.downsample_factors, strict=True))

    def _check_input_shape(self) -> None:
        axes_by_fault: dict[str, list[str]] = {}
        names = "zyx"[-len(self.input_shape) :]
        for name, size, factors in zip(names, self.input_shape, self._factors_by_axis, strict=True):
            try:
                output_size(size, factors, shrinkage=self.shrinkage)
            except ValueError as error:
                axes_by_fault.setdefault(str(error), []).append(name)
        if axes_by_fault:
            faults = (f"along {', '.join(axes)} {fault}" for fault, axes in axes_by_fault.items())
            raise ValueError(
                f"input_shape: found {list(self.input_shape)}, which this U-Net cannot take: "
                f"{'; '.join(faults)}. Nearest that work: {self._nearest_shapes()}"
            )

    def _nearest_shapes(self) -> str:
        sizes = (
            nearest_sizes(size, factors, shrinkage=self.shrinkage)
            for size, factors in zip(self.input_shape, self._factors_by_axis, strict=True)
        )
        shapes = dict.fromkeys(zip(*sizes, strict=True))
        return ", ".join(str(list(shape)) for shape in shapes)


def output_size(size: int, factors: Sequence[int], *, shrinkage: int) -> int:
    """Return the output voxels of a U-Net along one axis, given the input voxels.

    Args:
        factors: Downsampling factor of each level, full resolution first.
        shrinkage: Voxels that the convolutions of one level remove.

    Raises:
        ValueError: The size does not work; the message names the level, 0 at full resolution.
    """
    for level, factor in enumerate(factors):
        size = _convolved(size, shrinkage, f"level {level}")
        if size % factor:
            raise ValueError(f"level {level} cannot down-sample {size} voxels by {factor}")
        size //= factor
    size = _convolved(size, shrinkage, f"level {len(factors)}")
    for level, factor in reversed(list(enumerate(factors))):
        size = _convolved(size * factor, shrinkage, f"level {level}, on the way up,")
    return size


def nearest_sizes(size: int, factors: Sequence[int], *, shrinkage: int) -> tuple[int, int]:
    """Return the nearest sizes that work, below and above; the one above twice if none is below."""

    def works(candidate: int) -> bool:
        try:
            output_size(candidate, factors, shrinkage=shrinkage)
        except ValueError:
            return False
        return True

    above = next(filter(works, count(size)))
    below = next(filter(works, range(size, 0, -1)), above)
    return below, above


def _convolved(size: int, shrinkage: int, where: str) -> int:
    if size <= shrinkage:
        raise ValueError(f"{where} has {size} voxels, but its convolutions need {shrinkage + 1}")
    return size - shrinkage
