"""Write what is submitted: the experiment file and the run folders."""

from __future__ import annotations

import secrets
import shutil

import attrs

from launcher import file_lock
from launcher.experiment.experiment import Experiment
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.submission.plan import PlannedRun
from trainers.config.config_io import write_run_config
from trainers.config.run_config import RunConfig
from trainers.run.atomic_write import atomic_write
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import (
    Cause,
    EventKind,
    RunState,
    Status,
    append_event,
    read_state,
    write_state,
)
from trainers.run.submission_record import SubmissionRecord, write_submission
from trainers.weights.taken_weights import take_artifact


def write_source(folder: ExperimentFolder, experiment: Experiment) -> None:
    """Copy the experiment file into its folder, below comments with its path and the overrides.

    A copy that is itself submitted again, without overrides, is left as it is.
    """
    source, overrides = experiment.source, experiment.overrides
    if source.absolute() == folder.source and not overrides:
        return
    lines = [f"# submitted from {source.absolute()}", *(f"# with {each}" for each in overrides)]
    with atomic_write(folder.source) as file:
        file.write("\n".join([*lines, ""]).encode() + source.read_bytes())


def write_submitted(run: PlannedRun, *, pack: str, record: SubmissionRecord | None = None) -> None:
    """Write the run's config, and the state that gives the run to `pack`.

    Its retry budgets are reset: earlier attempts stay counted, but use up no budget.

    A new folder appears whole, by a rename. A run that an earlier job has started since the plan
    was made stays with that job: `pack` leaves it alone.
    """
    folder = run.folder
    if folder.path.exists():
        with file_lock.hold(folder.state_lock):
            _give_existing(run, pack, record)
        return
    unfinished = RunFolder(folder.path.with_name(f".{folder.name}"))
    shutil.rmtree(unfinished.path, ignore_errors=True)
    unfinished.path.mkdir(parents=True)
    write_run_config(unfinished.config, run.config)
    if record:
        write_submission(unfinished, record)
    if run.weights:
        take_artifact(run.weights, unfinished)
    write_state(unfinished, _submitted(run.recorded, run.config, pack))
    unfinished.path.rename(folder.path)
    append_event(folder, EventKind.SUBMITTED, pack=pack)


def _give_existing(run: PlannedRun, pack: str, record: SubmissionRecord | None) -> None:
    """Give an existing run to a pack, with the state that it has now.

    The state is written before a cancel request is removed: an older job that still has the run
    must never see it neither cancelled nor given to another pack.
    """
    folder, before = run.folder, read_state(run.folder)
    if before.status == Status.RUNNING:
        if run.recorded.status != Status.RUNNING:
            return
        # Its supervisor died too, and could not count the attempt.
        before = _count_lost_attempt(folder, before)
    write_run_config(folder.config, run.config)
    if record:
        write_submission(folder, record)
    write_state(folder, _submitted(before, run.config, pack))
    folder.cancel_request.unlink(missing_ok=True)
    append_event(folder, EventKind.SUBMITTED, pack=pack)


def _count_lost_attempt(folder: RunFolder, before: RunState) -> RunState:
    cause, reason = Cause.NODE_FAILURE, "its processes exited without recording a cause"
    append_event(
        folder,
        EventKind.ENDED,
        attempt=before.num_attempts,
        cause=cause,
        reason=reason,
        iteration=before.iteration,
        saved=before.saved_iteration,
    )
    return before.ended(cause=cause, status=Status.WAITING, reason=reason)


def _submitted(before: RunState, config: RunConfig, pack: str) -> RunState:
    return attrs.evolve(
        before.reset_retry_budget(),
        status=Status.SUBMITTED,
        reason="",
        wandb_id=before.wandb_id or secrets.token_hex(4),
        num_iterations=config.num_iterations,
        identity=config.fingerprint,
        pack=pack,
    )
