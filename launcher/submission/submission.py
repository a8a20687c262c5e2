"""What the submissions to Slurm and to this machine share."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import attrs
from attrs import field, frozen

from launcher import file_lock
from launcher.clusters.slurm_target import SlurmTarget
from launcher.errors import LockHeldError
from launcher.experiment.code_snapshot import CollectedCode
from launcher.experiment.experiment import Experiment
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.experiment.notify_config import write_notify
from launcher.job.machine import Machine
from launcher.notify.notices import note_submitted
from launcher.os_errors import doing, problem_of
from launcher.packing.packing import Packing
from launcher.submission.dashboards import Dashboard
from launcher.submission.options import SubmitOptions
from launcher.submission.plan import PlannedRun, plan_runs, refuse_runs_of_others
from launcher.submission.write_runs import write_submitted
from trainers.errors import ConfigError
from trainers.run.group_folder import create_for_group
from trainers.run.run_state import read_state, write_state
from trainers.run.submission_record import SubmissionRecord
from trainers.weights.wandb_artifact import fetch

_SUBMISSION_TIMEOUT_S = 60.0
"""How long to wait for another submission of the experiment to end."""
_logger = logging.getLogger(__name__)

_NUM_WRITERS = 16
"""Threads that write run folders; each mostly waits for the disk."""
_PACK = re.compile(r"pack-(\d+)")


@frozen(kw_only=True)
class SubmittedPack:
    """A pack of due runs, and its job."""

    folder: PackFolder
    job_id: str
    """Empty for a local job."""
    runs: tuple[str, ...]


@frozen(kw_only=True)
class Submission:
    """What a submission did, or with `--dry-run` would have done."""

    folder: ExperimentFolder
    runs: tuple[PlannedRun, ...]
    machine: Machine | None = None
    """Of a local submission."""
    target: SlurmTarget | None = None
    """Of one to Slurm."""
    packing: Packing | None = None
    """Of the due runs into jobs of Slurm."""
    excluded_nodes: tuple[str, ...] = ()
    """Bad nodes that the jobs are kept away from."""
    code: CollectedCode | None = None
    """The code that the jobs run; of a submission to Slurm."""
    packs: tuple[SubmittedPack, ...] = ()
    """The submitted jobs; none if no run was due, or with `--dry-run`."""
    refusal: str = ""
    """Why some of the packs were not submitted."""
    dashboards: tuple[Dashboard, ...] = ()
    """In the W&B projects of the runs."""
    num_calls: int = field(default=0)
    """How often `sbatch` was called."""

    @property
    def due(self) -> list[PlannedRun]:
        return [run for run in self.runs if run.is_due]


@contextmanager
def planned(
    experiment: Experiment, options: SubmitOptions
) -> Iterator[tuple[ExperimentFolder, tuple[PlannedRun, ...]]]:
    """Yield the folder and the planned runs of an experiment; nobody else submits it meanwhile.

    With `dry_run` nothing is locked, and the states may change meanwhile.

    Raises:
        ConfigError: A run exists and trains something else.
        LauncherError: A due run is another user's, and is not to be taken over.
        LockHeldError: Another submission takes too long; the message names it.
        OSError: The folder cannot be written, or what is in it cannot be read.
    """
    folder = ExperimentFolder(options.root.absolute() / experiment.name)
    with doing(f"submitting the experiment {experiment.name}", folder.path):
        if options.dry_run:
            runs = plan_runs(folder, experiment.runs)
            refuse_runs_of_others(folder, runs, take_over=options.take_over)
            yield folder, runs
            return
        with create_for_group(folder.path), _locked(folder):
            runs = plan_runs(folder, experiment.runs, is_locked=True)
            refuse_runs_of_others(folder, runs, take_over=options.take_over)
            write_notify(folder, experiment.notify)  # for jobs that run already, too
            yield folder, runs


@contextmanager
def _locked(folder: ExperimentFolder) -> Iterator[None]:
    folder.path.mkdir(parents=True, exist_ok=True)
    with file_lock.hold(folder.lock, timeout_s=_SUBMISSION_TIMEOUT_S):
        yield


def new_pack_folders(folder: ExperimentFolder, count: int) -> list[PackFolder]:
    """Create `count` pack folders, numbered after the existing ones."""
    folder.jobs.mkdir(exist_ok=True)
    matches = (_PACK.fullmatch(path.name) for path in folder.jobs.iterdir())
    first = max((int(match[1]) for match in matches if match), default=-1) + 1
    packs = [folder.pack(f"pack-{number:04d}") for number in range(first, first + count)]
    for pack in packs:
        pack.path.mkdir()
    return packs


def write_all_submitted(
    runs: Sequence[tuple[PlannedRun, PackFolder]], record: SubmissionRecord
) -> None:
    """Write the configs of runs, and that their packs have them, into the run folders.

    From then on it is told again what becomes of them. Checkpoints at W&B that they begin with are
    fetched before any of them is written.

    Raises:
        TrainerError, OSError: Something cannot be fetched or written.
    """
    for run in {run.weights: run for run, _ in runs if run.weights}.values():
        assert run.weights is not None
        fetch(run.weights, run.folder.weights_cache)
    with ThreadPoolExecutor(_NUM_WRITERS) as writers:
        for done in [
            writers.submit(partial(write_submitted, run, pack=pack.name, record=record))
            for run, pack in runs
        ]:
            done.result()
    note_submitted(ExperimentFolder.of_run(runs[0][0].folder), [run.config.name for run, _ in runs])


def restore_states(runs: Sequence[PlannedRun]) -> None:
    """Give runs the status that they had before the submission, since their job did not start.

    One whose state cannot be written stays as it is: without a job it counts as waiting soon.
    """
    for run in runs:
        try:
            with file_lock.hold(run.folder.state_lock):
                write_state(run.folder, attrs.evolve(read_state(run.folder), status=run.state))
        except (OSError, LockHeldError, ConfigError) as error:
            what = problem_of(error)
            _logger.warning("%s is still called submitted: %s", run.folder.name, what)
