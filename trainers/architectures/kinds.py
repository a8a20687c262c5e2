"""The architectures that a config can name."""

from __future__ import annotations

from trainers.architectures.architecture_config import ArchitectureConfig
from trainers.architectures.custom_config import CustomArchitectureConfig
from trainers.architectures.unet_config import UNetConfig

ARCHITECTURES: dict[str, type[ArchitectureConfig]] = {
    "unet": UNetConfig,
    "custom": CustomArchitectureConfig,
}
