"""Run one run in this very process, so that a debugger stops in the user's code."""

from __future__ import annotations

import os

import attrs

from launcher import file_lock
from launcher.environment import for_run
from launcher.experiment.experiment import Experiment
from launcher.job.attempt_end import attempt_end
from launcher.job.record_end import record_end
from launcher.submission.options import SubmitOptions
from launcher.submission.plan import PlannedRun
from launcher.submission.provenance import submission_record
from launcher.submission.submission import planned
from launcher.submission.write_runs import write_source, write_submitted
from trainers import exit_codes
from trainers.config.run_config import RetriesConfig, RunConfig
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Cause


def first_due(experiment: Experiment, options: SubmitOptions) -> PlannedRun | None:
    """Return the first due run, its folder written; None if no run is due.

    Raises:
        ConfigError: A run exists and trains something else.
    """
    with planned(experiment, options) as (folder, runs):
        run = next((run for run in runs if run.is_due), None)
        if run is None:
            return None
        run = attrs.evolve(run, config=_without_workers(run.config))
        if not options.dry_run:
            write_source(folder, experiment)
            record = submission_record(experiment, cluster="debug")
            write_submitted(run, pack="", record=record)
        return run


def run_here(folder: RunFolder) -> int:
    """Train or resume a run in the foreground; return one of `trainers.exit_codes`.

    Variables of this process that would make it a rank among others are removed.
    """
    from trainers.__main__ import main

    for name in os.environ.keys() - for_run(os.environ).keys():
        del os.environ[name]
    exit_status = main([str(folder.path)])
    if exit_status != exit_codes.NOTHING_TO_DO:
        end = attempt_end(
            exit_status,
            cancel_requested=folder.cancel_request.exists(),
            stop=None,
            killed_after_s=None,
            out_of_memory=False,
            log_tail="its output is in the terminal",
        )
        if end.cause in (Cause.CRASHED, Cause.OUT_OF_MEMORY):
            end = attrs.evolve(end, can_be_retried=False)  # by the user, who is watching
        with file_lock.hold(folder.state_lock):
            record_end(folder, end, RetriesConfig())
    return exit_status


def _without_workers(config: RunConfig) -> RunConfig:
    """Return the config with no data workers; the samples are the same, bit for bit."""
    if not isinstance(config.trainer, GunpowderTrainerConfig):
        return config
    return attrs.evolve(config, trainer=attrs.evolve(config.trainer, num_data_fetchers=0))
