"""Run one run in this very process, so that a debugger stops in the user's code."""

from __future__ import annotations

import attrs

from launcher import file_lock
from launcher.attempt_end import attempt_end
from launcher.attempt_record import record_end
from launcher.experiment_folder import ExperimentFolder
from trainers import exit_codes
from trainers.run_config import RunConfig
from trainers.run_folder import RunFolder


def without_workers(config: RunConfig) -> RunConfig:
    """The same run with its data made in the training process; they are the same data."""
    if "num_data_fetchers" not in attrs.fields_dict(type(config.trainer)):
        return config
    return attrs.evolve(config, trainer=attrs.evolve(config.trainer, num_data_fetchers=0))


def run_here(folder: RunFolder) -> int:
    """Carry a run on in the foreground; the result is one of `trainers.exit_codes`."""
    from trainers.__main__ import main

    exit_status = main([str(folder.path)])
    if exit_status != exit_codes.NOTHING_TO_DO:
        end = attempt_end(
            exit_status,
            cancel_requested=folder.cancel_request.exists(),
            killed_after_s=None,
            last_words="it said why on the terminal",
        )
        with file_lock.hold(ExperimentFolder.of_run(folder).lock):
            record_end(folder, end, exit_status=exit_status)
    return exit_status
