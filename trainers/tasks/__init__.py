"""What a network is to predict."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trainers.tasks.affinities_config import AffinitiesTaskConfig
from trainers.tasks.distance_config import DistanceTaskConfig
from trainers.tasks.one_hot_config import OneHotTaskConfig
from trainers.tasks.task_config import TaskConfig

if TYPE_CHECKING:
    from trainers.tasks.loss import Loss
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
    "Loss": "trainers.tasks.loss",
    "Predictor": "trainers.tasks.predictor",
    "Task": "trainers.tasks.task",
}


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HEAVY[name]), name)
