"""What augment configs accept, and what they say."""

from __future__ import annotations

from typing import Any

import pytest

from trainers.errors import ConfigError
from trainers.gp_augments import (
    CustomAugmentConfig,
    ElasticAugmentConfig,
    GammaAugmentConfig,
    IntensityAugmentConfig,
    NoiseAugmentConfig,
)

ELASTIC: dict[str, Any] = {
    "control_point_spacing": (16, 16, 16),
    "control_point_displacement_sigma": (20.0, 20.0, 20.0),
    "rotation_interval": (0.0, 1.5),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rotation_interval": (1.0, 0.5)},
            "must be [low, high] with low <= high; found [1.0, 0.5]",
        ),
        (
            {"control_point_spacing": (16, 16)},
            "control_point_displacement_sigma has 3 values and control_point_spacing has 2; "
            "give one of each per axis",
        ),
        (
            {
                "control_point_spacing": (16, 16),
                "control_point_displacement_sigma": (20.0, 20.0),
                "uniform_3d_rotation": True,
            },
            "uniform_3d_rotation needs 3 axes, found 2; use rotation_interval in 2-D",
        ),
        ({"subsample": 0}, "'subsample' must be >= 1: 0"),
    ],
)
def test_elastic_refuses_what_makes_no_sense(change: dict[str, Any], message: str) -> None:
    """Each rule between the fields is checked when the config is made."""
    with pytest.raises(ValueError) as caught:
        ElasticAugmentConfig(**{**ELASTIC, **change})

    assert message in str(caught.value)


def test_intervals_must_not_be_reversed() -> None:
    """Every interval is [low, high], also for intensity and gamma."""
    with pytest.raises(ValueError, match=r"found \[1.1, 0.9\]"):
        IntensityAugmentConfig(scale=(1.1, 0.9), shift=(0.0, 0.0))
    with pytest.raises(ValueError, match=r"found \[2.0, 1.0\]"):
        GammaAugmentConfig(gamma_range=(2.0, 1.0))
    with pytest.raises(ValueError, match="must be > 0"):
        GammaAugmentConfig(gamma_range=(0.0, 1.0))


def test_noise_takes_the_arguments_of_its_mode_only() -> None:
    """An argument that would have no effect is refused."""
    with pytest.raises(ValueError, match="salt noise has no var; it takes amount"):
        NoiseAugmentConfig(mode="salt", var=0.1)
    with pytest.raises(ValueError, match="poisson noise has no mean; it takes no argument"):
        NoiseAugmentConfig(mode="poisson", mean=0.1)


def test_elastic_scales_its_lengths_only() -> None:
    """The displacement is a length in nm; spacing and angles are not."""
    scaled = ElasticAugmentConfig(**ELASTIC).scaled(10)

    assert scaled.control_point_displacement_sigma == (200.0, 200.0, 200.0)
    assert scaled.control_point_spacing == (16, 16, 16)


def test_too_few_control_points_are_doubtful() -> None:
    """A spacing that leaves fewer than two control points on an axis is named, with its axis."""
    config = ElasticAugmentConfig(**{**ELASTIC, "control_point_spacing": (16, 100, 16)})

    assert ElasticAugmentConfig(**ELASTIC).doubts((128, 128, 128)) == ()
    assert config.doubts((128, 128, 128)) == (
        "elastic augment: a control point every 100 voxels leaves fewer than 2 of them in the 128 "
        "voxels of axis 1, so that hardly anything is bent; use a control_point_spacing of at "
        "most 64 there",
    )


@pytest.mark.parametrize(
    ("import_path", "arguments", "message"),
    [
        ("json:JSONDecoder", {}, "an augment must be a subclass of trainers.AugmentConfig"),
        (
            "trainers.gp_augments:GammaAugmentConfig",
            {"gama_range": [1, 2]},
            "refuses the arguments {'gama_range': [1, 2]}",
        ),
    ],
)
def test_a_custom_augment_that_does_not_fit_is_refused(
    import_path: str, arguments: dict[str, Any], message: str
) -> None:
    """The error names the import path and what is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        CustomAugmentConfig(import_path=import_path, arguments=arguments).load()

    assert import_path in str(caught.value)
    assert message in str(caught.value)


def test_a_custom_augment_needs_an_import_path() -> None:
    """A path of a file is not one."""
    with pytest.raises(ValueError, match="must be an import path"):
        CustomAugmentConfig(import_path="augments/mine.py")
