"""Networks, with their input and output shapes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trainers.architectures.architecture_config import ArchitectureConfig
from trainers.architectures.custom_config import CustomArchitectureConfig
from trainers.architectures.unet_config import UNetConfig

if TYPE_CHECKING:
    from trainers.architectures.model import Model, build_model
    from trainers.architectures.unet import UNet

__all__ = [
    "ArchitectureConfig",
    "CustomArchitectureConfig",
    "Model",
    "UNet",
    "UNetConfig",
    "build_model",
]

_HEAVY = {
    "Model": "trainers.architectures.model",
    "UNet": "trainers.architectures.unet",
    "build_model": "trainers.architectures.model",
}


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HEAVY[name]), name)
