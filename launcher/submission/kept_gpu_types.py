"""The types of GPUs that runs began on: another one would give other bits."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from launcher.experiment.experiment import Experiment
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.pack import read_pack
from launcher.monitor.status import observe
from trainers.errors import ConfigError, UnavailableError
from trainers.run.run_state import Status, read_state


def kept_gpu_types(experiment: Experiment, root: Path) -> dict[str, str]:
    """Return the types by the names of the runs; of those that have more to do, and a checkpoint.

    Where that would be several, only those of runs that are due: the others go on as they are. What
    cannot be read is left out: planning the submission tells of it.
    """
    folder = ExperimentFolder(root.absolute() / experiment.name)

    @cache
    def type_of(pack: str) -> str | None:
        try:
            terms = read_pack(folder.pack(pack)).slurm
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return terms.gpu_type if terms else None

    kept = {}
    for config in experiment.runs:
        run = folder.run(config.name)
        try:
            state = read_state(run, timeout_s=0)
        except (OSError, ConfigError, UnavailableError):
            continue
        is_over = state.status == Status.FINISHED and state.iteration >= config.num_iterations
        gpu_type = type_of(state.pack) if state.pack and state.saved_iteration else None
        if gpu_type and not is_over:
            kept[config.name] = gpu_type
    if len(set(kept.values())) > 1:  # asking Slurm takes time
        for each in observe([folder.run(name) for name in kept]):
            if each.status.state in (Status.SUBMITTED, Status.RUNNING) or each.status.is_expected:
                del kept[each.status.name]
    return kept
