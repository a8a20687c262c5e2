"""The augments that a config can name."""

from __future__ import annotations

from trainers.gp_augments.augment_config import AugmentConfig
from trainers.gp_augments.blur_config import BlurAugmentConfig
from trainers.gp_augments.contrast_config import ContrastAugmentConfig
from trainers.gp_augments.custom_config import CustomAugmentConfig
from trainers.gp_augments.cutout_config import CutoutAugmentConfig
from trainers.gp_augments.defects_config import DefectsAugmentConfig
from trainers.gp_augments.elastic_config import ElasticAugmentConfig
from trainers.gp_augments.gamma_config import GammaAugmentConfig
from trainers.gp_augments.intensity_config import IntensityAugmentConfig
from trainers.gp_augments.intensity_scale_shift_config import IntensityScaleShiftAugmentConfig
from trainers.gp_augments.noise_config import NoiseAugmentConfig
from trainers.gp_augments.simple_config import SimpleAugmentConfig

AUGMENTS: dict[str, type[AugmentConfig]] = {
    "simple": SimpleAugmentConfig,
    "elastic": ElasticAugmentConfig,
    "intensity": IntensityAugmentConfig,
    "intensity_scale_shift": IntensityScaleShiftAugmentConfig,
    "gamma": GammaAugmentConfig,
    "contrast": ContrastAugmentConfig,
    "noise": NoiseAugmentConfig,
    "blur": BlurAugmentConfig,
    "defects": DefectsAugmentConfig,
    "cutout": CutoutAugmentConfig,
    "custom": CustomAugmentConfig,
}
