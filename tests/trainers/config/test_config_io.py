"""Configs as files: nothing is lost on the way, and nothing is guessed."""

from __future__ import annotations

import errno
import random
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from attrs.validators import ge

from trainers.architectures.architecture_config import ArchitectureConfig
from trainers.config.config_io import (
    from_plain,
    read_config,
    read_run_config,
    to_plain,
    write_run_config,
)
from trainers.config.kinds import KINDS
from trainers.config.run_config import RunConfig
from trainers.config_faults import MalformedError
from trainers.errors import ConfigError
from trainers.gp_augments.augment_config import AugmentConfig
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
from trainers.optimizers.optimizer_configs import OptimizerConfig
from trainers.optimizers.schedule_configs import ScheduleConfig
from trainers.tasks.task_configs import TaskConfig
from trainers.trainer_config import TrainerConfig

EXAMPLES: dict[type[Any], list[dict[str, Any]]] = {
    ScheduleConfig: [
        {"kind": "constant"},
        {"kind": "linear_warm_up", "iterations": 7, "start_factor": 1e-05},
        {"kind": "cosine", "iterations": 70, "warm_up_iterations": 7, "final_factor": 0.1},
        {"kind": "step", "every_iterations": 3},
        {"kind": "polynomial", "iterations": 5, "power": 0.9},
    ],
    OptimizerConfig: [
        {"kind": "radam", "decoupled_weight_decay": True},
        {"kind": "adam", "betas": [0.8, 0.99], "eps": 1e-300},
        {"kind": "adamw", "weight_decay": 0.1},
        {"kind": "sgd", "momentum": 0.9, "nesterov": True},
    ],
    AugmentConfig: [
        {"kind": "simple"},
        {
            "kind": "elastic",
            "control_point_spacing": [16, 16, 16],
            "control_point_displacement_sigma": [20.0, 0.1, 1],
            "rotation_interval": [0, 1.5707963267948966],
        },
        {"kind": "intensity", "scale": [0.9, 1.1], "shift": [-0.1, 0.1]},
        {"kind": "intensity_scale_shift", "scale": 2, "shift": -1},
        {"kind": "gamma", "gamma_range": [0.5, 2]},
        {"kind": "contrast", "scale": [0.5, 1.5], "shift": [0, 0.1], "clip": False},
        {"kind": "noise", "mode": "s&p", "amount": 0.05},
        {"kind": "blur", "sigma": [0, 1.5], "in_sections": True},
        {"kind": "defects", "missing": 0.05, "shifted": 0.1, "max_shift": 3},
        {"kind": "cutout", "max_boxes": 3, "size": [4, 8, 8], "probability": 0.5},
        {
            "kind": "custom",
            "import_path": "mine.augments:Blur",
            "arguments": {"sigma": [1.5, None], "mode": "1e-4", "deep": {"yes": "no", "1": True}},
        },
    ],
    TrainerConfig: [
        {
            "kind": "dummy",
            "name": "d",
            "batch_size": 1,
            "learning_rate": 0.1,
            "mirror_augment": False,
        },
        {"kind": "gunpowder", "name": "null", "batch_size": 2, "learning_rate": 1e-4},
    ],
    TaskConfig: [
        {"kind": "affinities", "neighborhood": [[1, 0, 0], [0, -9, 0]]},
        {"kind": "one_hot", "classes": ["background", "on", "1_000", "größe: x"]},
        {"kind": "distance", "scale_nm": 50},
    ],
    ArchitectureConfig: [
        {"kind": "unet", "input_shape": [52, 52, 52], "padding": "valid"},
        {"kind": "custom", "input_shape": [9, 9], "import_path": "a.b:C", "arguments": {"d": 3}},
    ],
}
DATASETS = [
    {"name": "a", "raw": {"path": "/data/it's/a b.zarr", "array": "raw/s0"}},
    {
        "name": "02:00:00",
        "raw": {"path": "/data/new\nline", "voxel_size_nm": [40, 4, 4.5], "value_range": [0, 1]},
        "gt": {"path": '/data/q"uote', "offset_nm": [-1, 0, 1e9]},
        "mask": {"path": "/data/größe"},
        "weight": 3,
        "sample_points": "/data/points.csv",
    },
]


def random_run(seed: int) -> RunConfig:
    draw = random.Random(seed)
    drawn: dict[type[Any], dict[str, Any]] = {
        base: dict(draw.choice(examples)) for base, examples in EXAMPLES.items()
    }
    trainer = drawn[TrainerConfig]
    if trainer["kind"] == "gunpowder":
        trainer["optimizer"] = {**drawn[OptimizerConfig], "schedule": drawn[ScheduleConfig]}
        trainer["augments"] = draw.choices(EXAMPLES[AugmentConfig], k=draw.randrange(4))
        trainer["min_masked"] = draw.choice([None, draw.random()])
    plain = {
        "name": f"run-{seed}",
        "seed": draw.getrandbits(63),
        "num_iterations": draw.randrange(1, 10**6),
        "datasets": draw.sample(DATASETS, k=draw.randrange(1, 3)),
        "task": drawn[TaskConfig],
        "architecture": drawn[ArchitectureConfig],
        "trainer": trainer,
        "wandb": {"project": draw.choice(["~", "1", "cells"]), "mode": "offline"},
        "resources": {"memory_gb": draw.random() + 1, "time": "12:30:00"},
        "python_path": ["/home/me/modules"],
    }
    return from_plain(RunConfig, plain)


@pytest.mark.parametrize("seed", range(40))
def test_round_trip(seed, tmp_path):
    """A run's config is the same after it was written and read."""
    config = random_run(seed)

    write_run_config(tmp_path / "config.yaml", config)

    assert read_run_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("base", KINDS, ids=lambda base: base.__name__)
def test_every_kind_survives(base):
    """There is an example of every kind, and it survives being turned into plain data and back."""
    configs = [from_plain(base, example) for example in EXAMPLES[base]]

    assert {type(config) for config in configs} == set(KINDS[base].values())
    assert [from_plain(base, to_plain(config)) for config in configs] == configs


def test_nothing_is_left_out():
    """A saved config holds its kind and every default."""
    base: type[Any] = ScheduleConfig
    schedule = from_plain(base, {"kind": "linear_warm_up", "iterations": 7})

    assert to_plain(schedule) == {"kind": "linear_warm_up", "iterations": 7, "start_factor": 0.01}


def test_class_without_a_kind():
    """A class that no file could name is refused when it is to be saved."""

    class Blur(AugmentConfig):
        def node(self, raw_key, gt_key, mask_key):
            raise NotImplementedError

    augments: Any = [Blur()]
    trainer = GunpowderTrainerConfig(name="a", batch_size=1, learning_rate=1, augments=augments)

    with pytest.raises(ConfigError, match="Blur has no kind, so no file can hold it; use the kind"):
        to_plain(trainer)


def test_paths_start_at_the_folder():
    """A relative path is relative to the file; an absolute one stays, and so does none."""
    dataset = {"name": "a", "raw": {"path": "../raw"}, "gt": {"path": "/gt"}, "mask": None}
    run = {**to_plain(random_run(0)), "datasets": [dataset]}

    (read,) = from_plain(RunConfig, run, folder=Path("/experiments/first")).datasets

    assert read.raw.path == Path("/experiments/raw")
    assert read.gt.path == Path("/gt")
    assert read.mask is None


def test_a_home_folder_that_nobody_knows():
    """Neither the environment nor the list of users has it."""
    run = {**to_plain(random_run(0)), "python_path": ["~nobody-of-this-name/nets"]}

    with pytest.raises(MalformedError, match="nobody knows where this home folder is: write it"):
        from_plain(RunConfig, run)


def test_a_file_that_cannot_be_read_now_is_no_fault_of_its_author(tmp_path, monkeypatch):
    """A retry may help then, but not where the file is missing or may not be read."""
    path, numbers = tmp_path / "config.yaml", [errno.EACCES, errno.EIO]

    def fail(*arguments, **options):
        raise OSError(numbers.pop(), "no", str(path))

    monkeypatch.setattr(Path, "read_text", fail)

    with pytest.raises(OSError):
        read_run_config(path)
    with pytest.raises(ConfigError):
        read_run_config(path)


def test_faults_of_a_run_folder(tmp_path):
    """A run's own file is read as strictly as an experiment, and all its faults are told."""
    path = tmp_path / "config.yaml"
    write_run_config(path, random_run(0))
    path.write_text(path.read_text().replace("seed:", "sede:") + "seed: -1\n")
    num_lines = len(path.read_text().splitlines())

    with pytest.raises(ConfigError) as caught:
        read_run_config(path)

    first, second = str(caught.value).split("\n")
    assert first.startswith(f"{path}:3: sede: unknown key; did you mean 'seed'? allowed: name, ")
    assert second == f"{path}:{num_lines}: seed: found -1; must be at least 0"


@frozen(kw_only=True)
class Sizes:
    """Stands for any config class."""

    low: int = field(validator=ge(0))
    high: float = 1.0

    def __attrs_post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"high: found {self.high}; must not be below low ({self.low})")


@pytest.mark.parametrize(
    ("data", "faults"),
    [
        ({"low": 2, "high": 1}, ["high: found 1.0; must not be below low (2)"]),
        (
            {"low": -1, "high": "1"},
            ["low: found -1; must be at least 0", "high: found '1'; must be a number"],
        ),
        ({"low": True}, ["low: found true; must be a whole number"]),
        (
            {"high": 10**400},
            [
                "low: required key is missing",
                f"high: found 1{56 * '0'}...; must be a finite number",
            ],
        ),
        (None, ["found null; must be a mapping"]),
    ],
)
def test_any_class_is_read_strictly(data, faults):
    """A class needs no reader of its own: fields, types and validators say it all."""
    with pytest.raises(MalformedError) as caught:
        from_plain(Sizes, data)

    assert [str(fault) for fault in caught.value.faults] == faults


def test_any_class_is_read_from_a_file(tmp_path):
    """The same holds for a file with a class other than a run."""
    (tmp_path / "sizes.yaml").write_text("low: 1\nhigh: 2e3\n")

    assert read_config(Sizes, tmp_path / "sizes.yaml") == Sizes(low=1, high=2000.0)
