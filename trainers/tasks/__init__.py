"""What a network predicts: targets, losses and activations."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trainers.tasks.task_configs import (
    AffinitiesTaskConfig,
    DistanceTaskConfig,
    OneHotTaskConfig,
    TaskConfig,
)

if TYPE_CHECKING:
    from trainers.tasks.losses import Loss
    from trainers.tasks.predictor import Predictor
    from trainers.tasks.task import Task

__all__ = [
    "AffinitiesTaskConfig",
    "DistanceTaskConfig",
    "Loss",
    "OneHotTaskConfig",
    "Predictor",
    "Task",
    "TaskConfig",
]

_HEAVY = {
    "Loss": "trainers.tasks.losses",
    "Predictor": "trainers.tasks.predictor",
    "Task": "trainers.tasks.task",
}


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HEAVY[name]), name)
