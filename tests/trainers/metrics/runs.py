"""A run to report on, and what W&B has stored of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

from trainers.architectures import UNetConfig
from trainers.config.run_config import RunConfig, WandbConfig, WandbMode
from trainers.datasets import ArrayConfig, DatasetConfig
from trainers.dummy_trainer_config import DummyTrainerConfig
from trainers.metrics.wandb_segments import read_records
from trainers.run.run_folder import RunFolder
from trainers.run.run_record import RunRecord
from trainers.run.run_state import read_state
from trainers.tasks.task_configs import AffinitiesTaskConfig

RUN_ID = "abc123"


def run_config(mode: WandbMode) -> RunConfig:
    return RunConfig(
        name="first",
        experiment="all",
        num_iterations=12,
        datasets=(DatasetConfig(name="volume", raw=ArrayConfig(path=Path("/volume.zarr"))),),
        task=AffinitiesTaskConfig(neighborhood=((1, 0, 0),)),
        architecture=UNetConfig(input_shape=(52, 52, 52)),
        trainer=DummyTrainerConfig(
            name="first", batch_size=1, learning_rate=0.1, mirror_augment=False
        ),
        wandb=WandbConfig(project="tests", mode=mode),
    )


def record_of(folder: RunFolder) -> RunRecord:
    return RunRecord(folder, read_state(folder))


def logs_of(folder: RunFolder) -> list[Path]:
    """The W&B logs of the attempts, oldest first."""
    return sorted(folder.wandb.glob("*run-*/*.wandb"), key=lambda log: log.stat().st_mtime_ns)


def records_of(log: Path) -> Iterator[Any]:
    for data, _ in read_records(log, tail_bytes=log.stat().st_size):
        yield Record.FromString(data)


def steps_of(log: Path) -> list[int]:
    """The steps of the rows in a W&B log."""
    return [record.history.step.num for record in records_of(log) if record.HasField("history")]


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what must come; give up only when something hangs."""
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
