from __future__ import annotations

import pytest
import torch
from torch.nn.functional import max_pool3d

from trainers.architectures import UNetConfig
from trainers.architectures.unet import MaxPool


def _unet(config: UNetConfig, in_channels: int = 1) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return config.build(in_channels).double()


def _noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "config",
    [
        UNetConfig(input_shape=(44, 48, 52), num_features=2),
        UNetConfig(input_shape=(44, 48), num_features=2),
        UNetConfig(input_shape=(8, 12, 16), num_features=2, padding="same"),
        UNetConfig(input_shape=(44, 48), num_features=2, normalization="group"),
        UNetConfig(
            input_shape=(28, 44, 48),
            num_features=2,
            feature_factor=3,
            downsample_factors=((1, 2, 2), (2, 2, 2)),
        ),
    ],
)
def test_output_has_the_shape_that_the_config_promises(config: UNetConfig) -> None:
    """Two samples of three channels come out as two samples of `num_features`."""
    output = _unet(config, in_channels=3)(_noise(2, 3, *config.input_shape))

    assert tuple(output.shape) == (2, 2, *config.output_shape)


def test_valid_padding_is_equivariant_to_shifts_by_the_total_factor() -> None:
    """Shifting the input by (2, 4, 4) voxels shifts the output by as much, exactly."""
    config = UNetConfig(
        input_shape=(30, 52, 52), num_features=2, downsample_factors=((1, 2, 2), (2, 2, 2))
    )
    unet, volume = _unet(config), _noise(1, 1, 32, 56, 56)

    here = unet(volume[:, :, :30, :52, :52])
    there = unet(volume[:, :, 2:, 4:, 4:])

    assert tuple(here.shape[2:]) == (6, 12, 12)
    torch.testing.assert_close(there[:, :, :-2, :-4, :-4], here[:, :, 2:, 4:, 4:])


def test_output_lies_in_the_middle_of_the_input() -> None:
    """Mirrored input and mirrored filters give mirrored output: nothing is off by a voxel."""
    config = UNetConfig(input_shape=(52, 60), num_features=2)
    unet, image = _unet(config), _noise(1, 1, 52, 60)
    expected = unet(image).flip(2, 3)

    with torch.no_grad():
        for parameter in unet.parameters():
            if parameter.ndim == 4:
                parameter.copy_(parameter.flip(2, 3))

    torch.testing.assert_close(unet(image.flip(2, 3)), expected)


def test_every_parameter_learns() -> None:
    """The loss has a gradient with respect to each weight and bias."""
    config = UNetConfig(input_shape=(44, 44), num_features=4, normalization="group")
    unet = _unet(config)

    unet(_noise(2, 1, 44, 44)).square().sum().backward()

    assert [
        name
        for name, parameter in unet.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ] == []


def test_max_pool_equals_that_of_torch() -> None:
    """Values and gradients are those of `max_pool3d`, for factors that differ between axes."""
    ours = _noise(2, 3, 4, 6, 6).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()

    pooled = MaxPool((1, 2, 3))(ours)
    expected = max_pool3d(theirs, (1, 2, 3))
    pooled.square().sum().backward()
    expected.square().sum().backward()

    assert torch.equal(pooled, expected)
    assert torch.equal(ours.grad, theirs.grad)
