"""What every architecture config promises. Light: safe to import on a login node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import deep_iterable, ge, max_len, min_len

if TYPE_CHECKING:
    import torch


@frozen(kw_only=True)
class ArchitectureConfig(ABC):
    """A network, and the shapes that go into it and come out of it."""

    input_shape: tuple[int, ...] = field(validator=[min_len(2), max_len(3), deep_iterable(ge(1))])
    """Voxels along each spatial axis; two axes make a 2-D network."""

    @property
    @abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """Voxels along each spatial axis; this block lies in the middle of the input."""

    @property
    @abstractmethod
    def out_channels(self) -> int | None:
        """Features that the module returns; None if it returns the channels of the task."""

    @property
    def is_all_state(self) -> bool:
        """Whether the module consists of what is in its `state_dict`, and of nothing else.

        Then it can be restored without setting weights before, which takes long for large ones.
        """
        return False

    @abstractmethod
    def build(self, in_channels: int) -> torch.nn.Module:
        """A module from `[B, in_channels, *input_shape]` to `[B, out_channels, *output_shape]`."""

    def scale(self, voxel_size: tuple[float, ...]) -> tuple[float, ...]:
        """The voxel size of the output for that of the input."""
        return voxel_size
