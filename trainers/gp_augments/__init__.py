"""Augments: random changes of samples, as configs and gunpowder nodes."""

from trainers.gp_augments.artifact_configs import (
    BlurAugmentConfig,
    CutoutAugmentConfig,
    DefectsAugmentConfig,
    NoiseAugmentConfig,
)
from trainers.gp_augments.augment_config import AugmentConfig
from trainers.gp_augments.custom_config import CustomAugmentConfig
from trainers.gp_augments.intensity_configs import (
    ContrastAugmentConfig,
    GammaAugmentConfig,
    IntensityAugmentConfig,
    IntensityScaleShiftAugmentConfig,
)
from trainers.gp_augments.spatial_configs import ElasticAugmentConfig, SimpleAugmentConfig

__all__ = [
    "AugmentConfig",
    "BlurAugmentConfig",
    "ContrastAugmentConfig",
    "CustomAugmentConfig",
    "CutoutAugmentConfig",
    "DefectsAugmentConfig",
    "ElasticAugmentConfig",
    "GammaAugmentConfig",
    "IntensityAugmentConfig",
    "IntensityScaleShiftAugmentConfig",
    "NoiseAugmentConfig",
    "SimpleAugmentConfig",
]
