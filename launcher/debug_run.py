"""Run one run in this very process, so that a debugger stops in the user's code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from launcher import file_lock
from launcher.attempt_record import record_exit
from launcher.experiment import Experiment
from launcher.experiment_folder import ExperimentFolder
from launcher.plan import PlannedRun, plan_runs
from launcher.run_writing import write_source, write_submitted
from trainers import exit_codes
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
from trainers.run_config import RunConfig
from trainers.run_folder import RunFolder


def first_due(
    experiment: Experiment, overrides: Sequence[str], *, root: Path, dry_run: bool
) -> PlannedRun | None:
    """The first run that has something left to do, its folder ready; None if there is none.

    Args:
        dry_run: Write nothing.

    Raises:
        ConfigError: A run exists and trains something else.
    """
    folder = ExperimentFolder(root.absolute() / experiment.name)
    if dry_run:
        return _first_due(folder, experiment)
    folder.path.mkdir(parents=True, exist_ok=True)
    with file_lock.hold(folder.lock):
        run = _first_due(folder, experiment)
        if run:
            write_source(folder, experiment.source, overrides)
            write_submitted(run, pack="")
        return run


def _first_due(folder: ExperimentFolder, experiment: Experiment) -> PlannedRun | None:
    due = (run for run in plan_runs(folder, experiment.runs) if run.is_due)
    run = next(due, None)
    return run and attrs.evolve(run, config=_without_workers(run.config))


def _without_workers(config: RunConfig) -> RunConfig:
    """The same run with its data made in the training process; they are the same data."""
    if not isinstance(config.trainer, GunpowderTrainerConfig):
        return config
    return attrs.evolve(config, trainer=attrs.evolve(config.trainer, num_data_fetchers=0))


def run_here(folder: RunFolder) -> int:
    """Carry a run on in the foreground; the result is one of `trainers.exit_codes`."""
    from trainers.__main__ import main

    exit_status = main([str(folder.path)])
    if exit_status != exit_codes.NOTHING_TO_DO:
        with file_lock.hold(ExperimentFolder.of_run(folder).lock):
            record_exit(folder, exit_status, last_words="the terminal has its last words")
    return exit_status
