"""Runs that have trained where W&B cannot be reached: their folders, without training them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from launcher.experiment.experiment_folder import ExperimentFolder
from trainers.architectures import UNetConfig
from trainers.config.config_io import write_run_config
from trainers.config.run_config import RunConfig, WandbConfig
from trainers.datasets import ArrayConfig, DatasetConfig
from trainers.dummy_trainer_config import DummyTrainerConfig
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, Status, write_state
from trainers.run.wandb_record import WandbRecord, write_wandb_record
from trainers.tasks.task_configs import AffinitiesTaskConfig


def write_offline_runs(experiment: ExperimentFolder, num_runs: int, num_rows: int) -> None:
    """Write the folders of finished runs, with a row for each iteration; the W&B ids are names."""
    for number in range(num_runs):
        write_offline_run(experiment.run(f"run-{number:04d}"), range(num_rows))


def write_offline_run(
    folder: RunFolder, iterations: Sequence[int], *, status: Status = Status.FINISHED
) -> None:
    """Write the folder of a run as its trainer leaves it with `wandb.mode: offline`."""
    folder.path.mkdir(parents=True, exist_ok=True)
    config = RunConfig(
        name=folder.name,
        experiment=folder.path.parent.parent.name,
        num_iterations=max(1, len(iterations)),
        datasets=(DatasetConfig(name="volume", raw=ArrayConfig(path=Path("/volume.zarr"))),),
        task=AffinitiesTaskConfig(neighborhood=((1, 0, 0),)),
        architecture=UNetConfig(input_shape=(52, 52, 52)),
        trainer=DummyTrainerConfig(
            name=folder.name, batch_size=1, learning_rate=0.1, mirror_augment=False
        ),
        wandb=WandbConfig(project="tests", mode="offline"),
    )
    write_run_config(folder.config, config)
    write_state(
        folder,
        RunState(
            status=status,
            wandb_id=folder.name,
            iteration=len(iterations),
            num_iterations=config.num_iterations,
        ),
    )
    rows = [
        json.dumps(
            {
                "iteration": iteration,
                "loss": 1 / (iteration + 1),
                "learning_rate": 1e-4,
                "step_time_s": 0.1,
                "data_wait_s": 0.0,
                "samples_per_second": 10.0,
            }
        )
        for iteration in iterations
    ]
    folder.metrics.write_text("".join(f"{row}\n" for row in rows))
    write_wandb_record(folder, WandbRecord())
