"""All that the key `kind` can choose from."""

from __future__ import annotations

from collections.abc import Mapping

from trainers.architectures.architecture_config import ArchitectureConfig
from trainers.architectures.kinds import ARCHITECTURES
from trainers.gp_augments.augment_config import AugmentConfig
from trainers.gp_augments.kinds import AUGMENTS
from trainers.optimizers.kinds import OPTIMIZERS, SCHEDULES
from trainers.optimizers.optimizer_config import OptimizerConfig
from trainers.optimizers.schedule_config import ScheduleConfig
from trainers.tasks.kinds import TASKS
from trainers.tasks.task_config import TaskConfig
from trainers.trainer_config import TrainerConfig
from trainers.trainer_kinds import TRAINERS

KINDS: dict[type, Mapping[str, type]] = {
    TaskConfig: TASKS,
    ArchitectureConfig: ARCHITECTURES,
    TrainerConfig: TRAINERS,
    OptimizerConfig: OPTIMIZERS,
    ScheduleConfig: SCHEDULES,
    AugmentConfig: AUGMENTS,
}
"""Tables of kinds by the type of the field."""

KIND_NAMES: dict[type, str] = {cls: name for table in KINDS.values() for name, cls in table.items()}
