"""Cancel runs, whatever state they are in."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
from attrs import frozen

from launcher import file_lock
from launcher.errors import SlurmError
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.pack import read_pack
from launcher.job.unfinished_members import CANCELLED, unfinished
from launcher.monitor.job_status import JobPoller
from launcher.monitor.status import RunStatus, find_runs, read_statuses
from launcher.slurm import client
from trainers.errors import ConfigError
from trainers.run.lease import is_live, read_lease
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import EventKind, Status, append_event, read_state, write_state

_NUM_WRITERS = 16
"""Threads that write run folders; each mostly waits for the disk."""


@frozen(kw_only=True)
class Cancellation:
    """What cancelling a run came to."""

    name: str
    folder: str
    outcome: str


def cancel(*folders: str | Path) -> list[Cancellation]:
    """Cancel runs; one that is training writes a checkpoint first.

    The same as `launch cancel FOLDER …`.

    Args:
        folders: Of a run, of an experiment, or of experiments.

    Raises:
        LauncherError: One of them holds no run.
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
    outcomes = {run: _cancel(run, status.state) for run, status in zip(runs, statuses, strict=True)}
    _mark_cancelled(run for run, status in zip(runs, statuses, strict=True) if status.pack)
    for run, end in _cancel_idle_jobs(zip(runs, statuses, strict=True)).items():
        outcomes[run] += f"; {end}"
    return [
        Cancellation(name=run.name, folder=str(run.path), outcome=outcome)
        for run, outcome in outcomes.items()
    ]


def _cancel(run: RunFolder, state: Status) -> str:
    if state.is_over:
        return f"{state} already"
    run.cancel_request.touch()
    append_event(run, EventKind.CANCEL_REQUESTED)
    if state != Status.RUNNING:
        return "cancelled"
    if pid := _stop_trainer(run):
        return f"process {pid} was signalled to checkpoint and exit"
    return "its supervisor will signal it to checkpoint and exit"


def _mark_cancelled(runs: Iterable[RunFolder]) -> None:
    """Write the state of cancelled runs that have no supervisor; a supervisor writes it itself."""
    with ThreadPoolExecutor(_NUM_WRITERS) as writers:
        list(writers.map(_mark_one_cancelled, [run for run in runs if run.cancel_request.exists()]))


def _mark_one_cancelled(run: RunFolder) -> None:
    with file_lock.hold(run.state_lock):
        try:
            state = read_state(run)
        except ConfigError:
            return
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


def _has_work(pack: PackFolder) -> bool:
    return any(
        not pack.experiment.run(member.name).cancel_request.exists()
        for member in unfinished(pack, read_pack(pack).members)
    )


def _stop_trainer(run: RunFolder) -> int | None:
    """Send SIGTERM to the run's trainer; return its process id, or None if none runs here.

    A pidfd is opened before the process is checked: if the process ends and its id is reused in
    between, the signal still cannot reach the new process.
    """
    holder = read_lease(run.lease)
    if holder is None or holder.released or not holder.is_on_this_machine:
        return None
    try:
        process = os.pidfd_open(holder.pid)
    except ProcessLookupError:
        return None
    try:
        if not holder.is_process_alive:
            return None
        signal.pidfd_send_signal(process, signal.SIGTERM)
    except ProcessLookupError:
        return None
    finally:
        os.close(process)
    return holder.pid
