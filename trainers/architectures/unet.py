"""The U-Net, in 2-D and 3-D."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from trainers.architectures.unet_config import UNetConfig

_CONVOLUTION: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED_CONVOLUTION: dict[int, Callable[..., nn.Module]] = {
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


class UNet(nn.Module):
    """A U-Net from `[B, in_channels, *input_shape]` to `[B, num_features, *output_shape]`.

    After "U-Net: Convolutional Networks for Biomedical Image Segmentation" (Ronneberger et al.,
    2015) and "3D U-Net" (Çiçek et al., 2016). With valid padding and no normalization it is
    equivariant to shifts by the product of its downsampling factors, and each output voxel lies
    exactly at the center of its receptive field.
    """

    def __init__(self, config: UNetConfig, in_channels: int) -> None:
        super().__init__()
        self._top = _level(config, 0, in_channels)

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self._top(raw)
        return features


class _Level(nn.Module):
    """One resolution, and, through `deeper`, all coarser ones."""

    def __init__(self, config: UNetConfig, level: int, in_channels: int) -> None:
        super().__init__()
        factors = config.downsample_factors[level]
        features = config.num_features * config.feature_factor**level
        self.before = _convolutions(config, in_channels, features)
        self.down = MaxPool(factors)
        self.deeper = _level(config, level + 1, features)
        # Not trilinear interpolation: its gradient is not deterministic on CUDA.
        self.up = _TRANSPOSED_CONVOLUTION[len(factors)](
            features * config.feature_factor, features, kernel_size=factors, stride=factors
        )
        self.after = _convolutions(config, 2 * features, features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.before(x)
        coarse = self.up(self.deeper(self.down(fine)))
        result: torch.Tensor = self.after(
            torch.cat([_center(fine, coarse.shape[2:]), coarse], dim=1)
        )
        return result


class MaxPool(nn.Module):
    """Max pooling over blocks of `factors` voxels.

    Not `nn.MaxPool3d`, whose gradient is not deterministic on CUDA.
    """

    def __init__(self, factors: tuple[int, ...]) -> None:
        super().__init__()
        self._factors = factors

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for axis, factor in enumerate(self._factors, start=2):
            x = torch.unflatten(x, axis, (-1, factor)).amax(axis + 1)
        return x


def _level(config: UNetConfig, level: int, in_channels: int) -> nn.Module:
    if level < len(config.downsample_factors):
        return _Level(config, level, in_channels)
    features = config.num_features * config.feature_factor**level
    return _convolutions(config, in_channels, features)


def _convolutions(config: UNetConfig, in_channels: int, out_channels: int) -> nn.Module:
    convolution = _CONVOLUTION[len(config.input_shape)]
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers.append(convolution(channels, out_channels, kernel_size=3, padding=config.padding))
        if config.normalization == "group":
            layers.append(nn.GroupNorm(num_groups=1, num_channels=out_channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _center(features: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Crop the central block of this spatial shape."""
    for axis, size in enumerate(shape, start=2):
        features = features.narrow(axis, (features.shape[axis] - size) // 2, size)
    return features
