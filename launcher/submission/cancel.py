"""Cancel runs, whatever state they are in."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
from attrs import frozen

from launcher import file_lock
from launcher.errors import LockHeldError, SlurmError
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.pack import owner_of, read_pack
from launcher.job.unfinished_members import CANCELLED, unfinished
from launcher.monitor.find_run import find_runs
from launcher.monitor.job_poller import JobPoller
from launcher.monitor.status import RunStatus, read_statuses
from launcher.os_errors import doing, problem_of, sentence
from launcher.slurm import client
from trainers.errors import TrainerError
from trainers.run.group_folder import create_for_group
from trainers.run.lease import is_live, read_lease
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import EventKind, Status, append_event, read_state, write_state

_logger = logging.getLogger(__name__)

_NUM_WRITERS = 16
"""Threads that write run folders; each mostly waits for the disk."""


@frozen(kw_only=True)
class Cancellation:
    """What cancelling a run came to."""

    name: str
    folder: str
    outcome: str
    failed: bool = False
    """Whether the request could not be made: the run goes on, and `outcome` says why."""


def cancel(*folders: str | Path) -> list[Cancellation]:
    """Cancel runs; one that is training writes a checkpoint first.

    The same as `launch cancel FOLDER …`.

    Args:
        folders: Of a run, of an experiment, or of experiments.

    Raises:
        LauncherError: One of them holds no run.
        OSError: One of them cannot be read. A run that cannot be cancelled is a `Cancellation` that
            has failed.
    """
    runs = [run for folder in folders for run in find_runs(Path(folder).absolute())]
    return cancel_runs(list(dict.fromkeys(runs)))


def cancel_runs(runs: Sequence[RunFolder]) -> list[Cancellation]:
    """Cancel each run: one that is training checkpoints and exits, any other never starts.

    The request is a file, so that a supervisor on another machine sees it too. It holds until the
    run is submitted again. Pending jobs that now have nothing to do are cancelled; running ones end
    by themselves with their last run.
    """
    statuses = read_statuses(runs, jobs=JobPoller(max_age_s=0))
    outcomes: dict[RunFolder, str] = {}
    failed = set()
    for run, status in zip(runs, statuses, strict=True):
        try:
            with (
                create_for_group(run.path),
                doing("requesting that the run end", run.cancel_request),
            ):
                outcomes[run] = _cancel(run, status.state)
        except OSError as error:  # the other runs are to be cancelled all the same
            outcomes[run] = f"not cancelled: {sentence(error)}"
            failed.add(run)
    requested = [each for each in zip(runs, statuses, strict=True) if each[0] not in failed]
    _mark_cancelled(run for run, status in requested if status.pack)
    for run, end in _cancel_idle_jobs(requested).items():
        outcomes[run] += f"; {end}"
    for run, owner in _other_owners(requested).items():
        outcomes[run] += f"; it was submitted by {owner}"
    return [
        Cancellation(name=run.name, folder=str(run.path), outcome=outcome, failed=run in failed)
        for run, outcome in outcomes.items()
    ]


def _cancel(run: RunFolder, state: Status) -> str:
    if state.is_over:
        return f"{state} already"
    run.cancel_request.touch()
    try:
        append_event(run, EventKind.CANCEL_REQUESTED)
    except OSError as error:  # the request counts without it
        _logger.warning("not recorded that %s was cancelled: %s", run.name, sentence(error))
    if state == Status.UNREADABLE:
        return "requested; whether it trains cannot be read"
    if state != Status.RUNNING:
        return "cancelled"
    if pid := _stop_trainer(run):
        return f"process {pid} was signalled to checkpoint and exit"
    return "its supervisor will signal it to checkpoint and exit"


def _mark_cancelled(runs: Iterable[RunFolder]) -> None:
    """Write the state of cancelled runs that have no supervisor; a supervisor writes it itself."""
    by_folder: dict[Path, list[RunFolder]] = {}
    for run in runs:
        by_folder.setdefault(run.path.parent, []).append(run)
    with ThreadPoolExecutor(_NUM_WRITERS) as writers:
        for folder, its_runs in by_folder.items():
            with create_for_group(folder):
                list(writers.map(_try_to_mark, its_runs))


def _try_to_mark(run: RunFolder) -> None:
    """Mark a run as cancelled, or log why not: the request counts, and the status shows it."""
    try:
        if run.cancel_request.exists():
            _mark_one_cancelled(run)
    except (OSError, LockHeldError, TrainerError) as error:
        _logger.warning("%s is cancelled, but not in its state: %s", run.name, problem_of(error))


def _mark_one_cancelled(run: RunFolder) -> None:
    with file_lock.hold(run.state_lock):
        state = read_state(run)
        pack = ExperimentFolder.of_run(run).pack(state.pack)
        is_supervised = is_live(run.lease) or is_live(pack.lease)
        is_queued = state.status in (Status.SUBMITTED, Status.WAITING)
        # The request may be gone: the run may have been submitted again before it was locked.
        if is_queued and run.cancel_request.exists() and not is_supervised:
            write_state(run, attrs.evolve(state, status=Status.CANCELLED, reason=CANCELLED))


def _cancel_idle_jobs(runs: Iterable[tuple[RunFolder, RunStatus]]) -> dict[RunFolder, str]:
    """Cancel pending jobs that have no runs left; return what became of the job, by run."""
    pending: dict[PackFolder, list[RunFolder]] = {}
    job_ids: dict[PackFolder, str] = {}
    for run, status in runs:
        if status.pack and status.job_id and status.job_state == "PENDING":
            pack = ExperimentFolder.of_run(run).pack(status.pack)
            job_ids[pack] = status.job_id
            if not status.state.is_over:
                pending.setdefault(pack, []).append(run)
    idle = [pack for pack in pending if not _has_work(pack)]
    if not idle:
        return {}
    end = "was removed from the queue"
    try:
        client.cancel([job_ids[pack] for pack in idle], only_waiting=True)
    except SlurmError as error:
        end = f"is still in the queue and will find nothing to do: {error}"
    return {run: f"its job {job_ids[pack]} {end}" for pack in idle for run in pending[pack]}


def _other_owners(runs: Iterable[tuple[RunFolder, RunStatus]]) -> dict[RunFolder, str]:
    """Return by whom runs were submitted that were another user's, and were not over."""
    packs = {
        run: ExperimentFolder.of_run(run).pack(status.pack)
        for run, status in runs
        if status.pack and not status.state.is_over
    }
    owners = {pack: owner_of(pack) for pack in set(packs.values())}
    return {
        run: owner.name
        for run, pack in packs.items()
        if (owner := owners[pack]) and owner.uid != os.getuid()
    }


def _has_work(pack: PackFolder) -> bool:
    try:
        return any(
            not pack.experiment.run(member.name).cancel_request.exists()
            for member in unfinished(pack, read_pack(pack).members)
        )
    except (TrainerError, OSError, ValueError):
        return True  # a run whose files cannot be read may still need the job


def _stop_trainer(run: RunFolder) -> int | None:
    """Send SIGTERM to the run's trainer; return its process id, or None if none of ours runs here.

    A pidfd is opened before the process is checked: if the process ends and its id is reused in
    between, the signal still cannot reach the new process.
    """
    try:
        holder = read_lease(run.lease)
        if holder is None or holder.released or not holder.is_on_this_machine:
            return None
        process = os.pidfd_open(holder.pid)
    except OSError:  # the process has ended, the lease is not readable, or pidfds are forbidden
        return None
    try:
        if not holder.is_process_alive:
            return None
        signal.pidfd_send_signal(process, signal.SIGTERM)
    except OSError:  # it has ended, or is another user's
        return None
    finally:
        os.close(process)
    return holder.pid
