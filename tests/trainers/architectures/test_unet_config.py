from __future__ import annotations

import pytest

from trainers.architectures import UNetConfig

FINE_THEN_COARSE = ((1, 2, 2), (2, 2, 2))


@pytest.mark.parametrize(
    ("config", "output_shape"),
    [
        (UNetConfig(input_shape=(52, 52, 52)), (12, 12, 12)),
        (UNetConfig(input_shape=(52, 52)), (12, 12)),
        (UNetConfig(input_shape=(44, 52, 100)), (4, 12, 60)),
        (UNetConfig(input_shape=(52, 52, 52), padding="same"), (52, 52, 52)),
        (UNetConfig(input_shape=(8, 12), padding="same"), (8, 12)),
        (UNetConfig(input_shape=(28, 52, 52), downsample_factors=FINE_THEN_COARSE), (4, 12, 12)),
        (UNetConfig(input_shape=(37, 37, 37), downsample_factors=((3, 3, 3),)), (17, 17, 17)),
        (UNetConfig(input_shape=(572, 572), downsample_factors=((2, 2),) * 4), (388, 388)),
        (UNetConfig(input_shape=(84, 268, 268), downsample_factors=((1, 3, 3),) * 3), (56, 56, 56)),
    ],
)
def test_output_shape(config: UNetConfig, output_shape: tuple[int, ...]) -> None:
    """Valid padding takes the border away, the original U-Net's 572 to 388 included."""
    assert config.output_shape == output_shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"input_shape": (52, 50, 52)},
            "input_shape: found [52, 50, 52], which this U-Net cannot take: along y level 1 "
            "cannot down-sample 19 voxels by 2. Nearest that work: [52, 48, 52], [52, 52, 52]",
        ),
        (
            {"input_shape": (20, 53)},
            "input_shape: found [20, 53], which this U-Net cannot take: along y level 2 has 2 "
            "voxels, but its convolutions need 5; along x level 0 cannot down-sample 49 voxels "
            "by 2. Nearest that work: [44, 52], [44, 56]",
        ),
        (
            {"input_shape": (36, 36)},
            "input_shape: found [36, 36], which this U-Net cannot take: along y, x level 1, on "
            "the way up, has 4 voxels, but its convolutions need 5. Nearest that work: [44, 44]",
        ),
        (
            {"input_shape": (52, 50, 52), "padding": "same"},
            "input_shape: found [52, 50, 52], which this U-Net cannot take: along y level 1 "
            "cannot down-sample 25 voxels by 2. Nearest that work: [52, 48, 52], [52, 52, 52]",
        ),
        (
            {"input_shape": (52, 52, 52), "downsample_factors": ((2, 2),)},
            "downsample_factors: found [2, 2]; must have one factor for each of the 3 axes of "
            "input_shape [52, 52, 52]",
        ),
    ],
)
def test_shape_that_does_not_work(arguments: dict[str, object], message: str) -> None:
    """The error names axis, level and reason, and the nearest shapes that do work."""
    with pytest.raises(ValueError) as caught:
        UNetConfig(**arguments)  # type: ignore[arg-type]

    assert str(caught.value) == message


@pytest.mark.parametrize("shape", [(52,), (52, 52, 52, 52), (52, 0, 52)])
def test_input_shape_is_that_of_an_image_or_a_volume(shape: tuple[int, ...]) -> None:
    """Only two and three axes, none empty, are accepted."""
    with pytest.raises(ValueError, match="input_shape"):
        UNetConfig(input_shape=shape)


def test_default_factors_follow_the_number_of_axes() -> None:
    """Without factors every axis is down-sampled twice by 2, and the config says so."""
    assert UNetConfig(input_shape=(52, 52)).downsample_factors == ((2, 2), (2, 2))
    assert UNetConfig(input_shape=(52, 52, 52)).downsample_factors == ((2, 2, 2), (2, 2, 2))


def test_scale_is_kept() -> None:
    """The output has the voxel size of the input."""
    assert UNetConfig(input_shape=(52, 52)).scale((8.0, 4.0)) == (8.0, 4.0)
