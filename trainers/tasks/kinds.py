"""The tasks that a config can name."""

from __future__ import annotations

from trainers.tasks.affinities_config import AffinitiesTaskConfig
from trainers.tasks.distance_config import DistanceTaskConfig
from trainers.tasks.one_hot_config import OneHotTaskConfig
from trainers.tasks.task_config import TaskConfig

TASKS: dict[str, type[TaskConfig]] = {
    "affinities": AffinitiesTaskConfig,
    "one_hot": OneHotTaskConfig,
    "distance": DistanceTaskConfig,
}
