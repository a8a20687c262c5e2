"""Ask runs to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import attrs
from attrs import frozen

from launcher import file_lock
from launcher.errors import SlurmError
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.pack import read_pack
from launcher.job.unfinished_members import CANCELLED, unfinished
from launcher.monitor.job_status import JobWatch
from launcher.monitor.status import RunStatus, find_runs, read_statuses
from launcher.slurm import client
from trainers.errors import ConfigError
from trainers.run.lease import is_live, read_lease
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import EventKind, Status, append_event, read_state, write_state

_NUM_WRITERS = 16
"""At once: each spends its time waiting for the disk."""


@frozen(kw_only=True)
class Cancellation:
    """What came of a request."""

    name: str
    folder: str
    outcome: str


def cancel(*folders: str | Path) -> list[Cancellation]:
    """Ask runs to end; each that is trained saves a checkpoint first.

    The same as `launch cancel FOLDER …`.

    Args:
        folders: Of a run, of an experiment, or of experiments.

    Raises:
        LauncherError: One of them holds no run.
    """
    runs = [run for folder in folders for run in find_runs(Path(folder).absolute())]
    return cancel_runs(list(dict.fromkeys(runs)))


def cancel_runs(runs: Sequence[RunFolder]) -> list[Cancellation]:
    """Ask each run to end: one that is trained checkpoints and goes, any other never begins.

    The request is a file, so that a supervisor on another machine sees it too. It stands until the
    run is submitted again. Jobs that have not begun, and now have nothing to do, leave the queue;
    the others end by themselves when their last run has.
    """
    statuses = read_statuses(runs, jobs=JobWatch(max_age_s=0))
    outcomes = {run: _cancel(run, status.state) for run, status in zip(runs, statuses, strict=True)}
    _settle(run for run, status in zip(runs, statuses, strict=True) if status.pack)
    for run, end in _end_jobs(zip(runs, statuses, strict=True)).items():
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
        return f"process {pid} was asked to checkpoint and go"
    return "its supervisor will ask it to checkpoint and go"


def _settle(runs: Iterable[RunFolder]) -> None:
    """Write down that runs are over whom nobody has in hand; supervisors do so for their own."""
    by_experiment: dict[ExperimentFolder, list[RunFolder]] = {}
    for run in runs:
        if run.cancel_request.exists():
            by_experiment.setdefault(ExperimentFolder.of_run(run), []).append(run)
    for experiment, cancelled in by_experiment.items():
        with file_lock.hold(experiment.lock), ThreadPoolExecutor(_NUM_WRITERS) as writers:
            list(writers.map(partial(_settle_one, experiment), cancelled))


def _settle_one(experiment: ExperimentFolder, run: RunFolder) -> None:
    try:
        state = read_state(run)
    except ConfigError:
        return
    is_in_hand = is_live(run.lease) or is_live(experiment.pack(state.pack).lease)
    is_to_begin = state.status in (Status.SUBMITTED, Status.WAITING)
    if is_to_begin and run.cancel_request.exists() and not is_in_hand:
        write_state(run, attrs.evolve(state, status=Status.CANCELLED, reason=CANCELLED))


def _end_jobs(runs: Iterable[tuple[RunFolder, RunStatus]]) -> dict[RunFolder, str]:
    """Take out of the queue what waits there for nothing; says what became of the runs' jobs."""
    waiting: dict[PackFolder, list[RunFolder]] = {}
    job_ids: dict[PackFolder, str] = {}
    for run, status in runs:
        if status.pack and status.job_id and status.job_state == "PENDING":
            pack = ExperimentFolder.of_run(run).pack(status.pack)
            job_ids[pack] = status.job_id
            if not status.state.is_over:
                waiting.setdefault(pack, []).append(run)
    idle = [pack for pack in waiting if not _has_work(pack)]
    if not idle:
        return {}
    end = "was taken out of the queue"
    try:
        client.cancel([job_ids[pack] for pack in idle], only_waiting=True)
    except SlurmError as error:
        end = f"is still in the queue and will find nothing to do: {error}"
    return {run: f"its job {job_ids[pack]} {end}" for pack in idle for run in waiting[pack]}


def _has_work(pack: PackFolder) -> bool:
    return any(
        not pack.experiment.run(member.name).cancel_request.exists()
        for member in unfinished(pack, read_pack(pack).members)
    )


def _stop_trainer(run: RunFolder) -> int | None:
    """The process that was asked to stop; None if no trainer is known on this machine.

    The process is opened before it is looked at, so that no later one of its number is hit.
    """
    holder = read_lease(run.lease)
    if holder is None or holder.released or not holder.is_here:
        return None
    try:
        process = os.pidfd_open(holder.pid)
    except ProcessLookupError:
        return None
    try:
        if not holder.process_lives:
            return None
        signal.pidfd_send_signal(process, signal.SIGTERM)
    except ProcessLookupError:
        return None
    finally:
        os.close(process)
    return holder.pid
