"""From an experiment to a job on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import attrs
from attrs import frozen

from launcher import file_lock
from launcher.cluster_config import LocalClusterConfig
from launcher.errors import DoesNotFitError, SubmissionError
from launcher.experiment import Experiment
from launcher.experiment_folder import ExperimentFolder, PackFolder
from launcher.local_job import start_locally
from launcher.machine import Machine, this_machine
from launcher.pack import Member, Pack, write_pack
from launcher.plan import PlannedRun, plan_runs
from launcher.run_writing import write_source, write_submitted
from trainers.run_config import RunConfig
from trainers.run_state import read_state, write_state

_NUM_WRITERS = 16
"""Of run folders at once: each spends its time waiting for the disk."""


@frozen(kw_only=True)
class Submission:
    """What was done, or with `dry_run` would have been done, about the runs of an experiment."""

    folder: ExperimentFolder
    machine: Machine
    runs: tuple[PlannedRun, ...]
    pack: PackFolder | None = None
    """The job that has the due runs; None if no job was started."""

    @property
    def due(self) -> list[PlannedRun]:
        return [run for run in self.runs if run.is_due]


def submit_locally(
    experiment: Experiment,
    overrides: Sequence[str],
    cluster: LocalClusterConfig,
    *,
    root: Path,
    dry_run: bool,
) -> Submission:
    """Start the runs that are due as one job on this machine, and leave the others alone.

    Args:
        overrides: Those that the experiment was read with.
        root: The folder of experiments.
        dry_run: Write and start nothing.

    Raises:
        ConfigError: A run exists and trains something else.
        DoesNotFitError: A run asks for more GPUs than this machine has; one without any takes all
            runs, on its CPU.
        SubmissionError: The job did not start; the runs are as they were, and their folders stay.
    """
    folder = ExperimentFolder(root.absolute() / experiment.name)
    machine = this_machine(gpus=cluster.gpus, cpus=cluster.cpus)
    _check_fit(experiment.runs, machine)
    if dry_run:
        runs = plan_runs(folder, experiment.runs)
        return Submission(folder=folder, machine=machine, runs=runs)
    folder.path.mkdir(parents=True, exist_ok=True)
    with file_lock.hold(folder.lock):
        runs = plan_runs(folder, experiment.runs)
        submission = Submission(folder=folder, machine=machine, runs=runs)
        if not submission.due:
            return submission
        write_source(folder, experiment.source, overrides)
        pack = _start(submission, cluster.grace_s)
        return attrs.evolve(submission, pack=pack)


def _check_fit(configs: Sequence[RunConfig], machine: Machine) -> None:
    largest = max(configs, key=lambda config: config.resources.gpus)
    asked, present = largest.resources.gpus, len(machine.gpus)
    if 0 < present < asked:
        raise DoesNotFitError(
            f"{largest.name} does not fit because resources.gpus is {asked} and this machine has "
            f"{present} to give; resources.gpus={present} would fit"
        )


def _start(submission: Submission, grace_s: float) -> PackFolder:
    pack = _new_pack_folder(submission.folder)
    members = tuple(
        Member(name=run.config.name, gpus=resources.gpus, cpus=resources.cpus)
        for run in submission.due
        for resources in [run.config.resources]
    )
    write_pack(pack, Pack(members=members, machine=submission.machine, grace_s=grace_s))
    with ThreadPoolExecutor(_NUM_WRITERS) as writers:
        list(writers.map(partial(write_submitted, pack=pack.name), submission.due))
    try:
        start_locally(pack)
    except SubmissionError:
        for run in submission.due:
            write_state(run.folder, attrs.evolve(read_state(run.folder), status=run.state))
        raise
    return pack


def _new_pack_folder(folder: ExperimentFolder) -> PackFolder:
    folder.jobs.mkdir(exist_ok=True)
    for number in count():
        pack = folder.pack(f"pack-{number:04d}")
        with suppress(FileExistsError):
            pack.path.mkdir()
            break
    return pack
