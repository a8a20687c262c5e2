"""What is done about the runs of an experiment, wherever they go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import attrs
from attrs import field, frozen

from launcher import file_lock
from launcher.clusters.slurm_target import SlurmTarget
from launcher.experiment.experiment import Experiment
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.machine import Machine
from launcher.packing.packing import Packing
from launcher.submission.options import SubmitOptions
from launcher.submission.plan import PlannedRun, plan_runs
from launcher.submission.write_runs import write_submitted
from trainers.run.run_state import read_state, write_state

_NUM_WRITERS = 16
"""Of run folders at once: each spends its time waiting for the disk."""


@frozen(kw_only=True)
class SubmittedPack:
    """A pack of due runs, and the job that has it."""

    folder: PackFolder
    job_id: str
    """Empty for a local job."""
    runs: tuple[str, ...]


@frozen(kw_only=True)
class Submission:
    """What was done, or with `--dry-run` would have been done, about the runs of an experiment."""

    folder: ExperimentFolder
    runs: tuple[PlannedRun, ...]
    machine: Machine | None = None
    """Of a local submission."""
    target: SlurmTarget | None = None
    """Of one to Slurm."""
    packing: Packing | None = None
    """Of the due runs into jobs of Slurm."""
    packs: tuple[SubmittedPack, ...] = ()
    """The jobs that have the due runs; none if there was nothing to do, or nothing was done."""
    refusal: str = ""
    """Why some of the packs were not submitted."""
    num_calls: int = field(default=0)
    """How often Slurm was called to submit."""

    @property
    def due(self) -> list[PlannedRun]:
        return [run for run in self.runs if run.is_due]


@contextmanager
def planned(
    experiment: Experiment, options: SubmitOptions
) -> Iterator[tuple[ExperimentFolder, tuple[PlannedRun, ...]]]:
    """The folder and the runs of an experiment, for the body to decide about.

    With `dry_run` nothing is locked, and the states may change meanwhile.

    Raises:
        ConfigError: A run exists and trains something else.
    """
    folder = ExperimentFolder(options.root.absolute() / experiment.name)
    if options.dry_run:
        yield folder, plan_runs(folder, experiment.runs)
        return
    folder.path.mkdir(parents=True, exist_ok=True)
    with file_lock.hold(folder.lock):
        yield folder, plan_runs(folder, experiment.runs, is_locked=True)


def new_pack_folders(folder: ExperimentFolder, count: int) -> list[PackFolder]:
    """Folders for so many packs, numbered after those that there are."""
    folder.jobs.mkdir(exist_ok=True)
    numbers = [int(path.name.removeprefix("pack-")) for path in folder.jobs.glob("pack-*")]
    first = max(numbers, default=-1) + 1
    packs = [folder.pack(f"pack-{number:04d}") for number in range(first, first + count)]
    for pack in packs:
        pack.path.mkdir()
    return packs


def write_all_submitted(runs: Sequence[tuple[PlannedRun, PackFolder]]) -> None:
    """Make run folders say what they are to train, and which packs have them to do."""
    with ThreadPoolExecutor(_NUM_WRITERS) as writers:
        for done in [
            writers.submit(partial(write_submitted, run, pack=pack.name)) for run, pack in runs
        ]:
            done.result()


def take_back(runs: Sequence[PlannedRun]) -> None:
    """Let runs be as they were, since their job could not be started."""
    for run in runs:
        write_state(run.folder, attrs.evolve(read_state(run.folder), status=run.state))
