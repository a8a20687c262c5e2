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
    """A network, with its input and output shapes."""

    input_shape: tuple[int, ...] = field(validator=[min_len(2), max_len(3), deep_iterable(ge(1))])
    """Voxels along z, y, x; y, x make a 2-D network."""

    @property
    @abstractmethod
    def output_shape(self) -> tuple[int, ...]:
        """Voxels along each spatial axis; the output block is centered in the input."""

    @property
    @abstractmethod
    def out_channels(self) -> int | None:
        """Number of features of the module's output; None if it returns the task's channels."""

    @property
    def is_all_state(self) -> bool:
        """Whether the `state_dict` holds all values of the module.

        Then a resumed run skips the initialization of weights, which takes long for large networks.
        """
        return False

    @abstractmethod
    def build(self, in_channels: int) -> torch.nn.Module:
        """Return a module.

        It maps `[B, in_channels, *input_shape]` to `[B, out_channels, *output_shape]`.
        """

    def scale(self, voxel_size: tuple[float, ...]) -> tuple[float, ...]:
        """Return the voxel size of the output, given that of the input."""
        return voxel_size
