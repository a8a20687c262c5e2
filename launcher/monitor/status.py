"""The status of runs, from their folders, their leases, and Slurm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from attrs import frozen

from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.unfinished_members import UNFINISHED, awaits_retry_decision
from launcher.monitor.effective_state import EffectiveState, effective_state
from launcher.monitor.find_run import find_runs
from launcher.monitor.job_poller import JobPoller
from launcher.monitor.job_status import (
    NEW_PACK,
    NO_PACK,
    JobPhase,
    PackStatus,
    pack_statuses,
)
from launcher.monitor.unrecorded_jobs import find_unrecorded_jobs
from launcher.monitor.wandb_lag import WandbLag, wandb_lag
from launcher.os_errors import PatientReader, may_pass, problem_of
from trainers.errors import ConfigError, UnavailableError
from trainers.run.lease import is_live
from trainers.run.lease_file import file_system_time
from trainers.run.run_figures import BestMetric
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, Status, read_state

_UNREADABLE = (ConfigError, UnavailableError, OSError)
"""What reading a run's files may raise."""


@frozen(kw_only=True)
class ObservedRun:
    """The status of a run, and the record that it was derived from."""

    status: RunStatus
    recorded: RunState | None
    """The contents of `state.json` then; None if it cannot be read: the status has the reason."""


@frozen(kw_only=True)
class RunStatus:
    """The status of one run."""

    name: str
    experiment: str
    folder: str
    state: Status
    """The effective state: what is recorded, corrected by the leases and by Slurm."""
    iteration: int
    num_iterations: int
    """0 if the run was never submitted."""
    attempts: dict[str, int]
    """Ended attempts by cause."""
    reason: str
    wandb_id: str
    is_expected: bool
    """Whether the run may continue without a new submission: its supervisor is alive, or its job is
    in the queue, or may be."""
    concern: str = ""
    """What is amiss while it trains: it is slow, with the part that grew, or W&B is silent."""
    wandb_lag: WandbLag | None = None
    """The rows that W&B does not have yet, while nobody reports the run there: `launch sync`."""
    pack: str | None = None
    """The pack that the run is assigned to, or was last."""
    job_id: str | None = None
    """The pack's job, as Slurm calls it."""
    job_state: str | None = None
    """Slurm's state of the job if it is in the queue, such as PENDING."""
    doubt: str | None = None
    """Why it is not known whether the job may still continue the run, as when Slurm is silent."""
    loss: float | None = None
    """Smoothed; for this and the next four see `RunFigures`."""
    iterations_per_s: float | None = None
    best: BestMetric | None = None
    node: str = ""
    num_nodes: int = 1
    silent_s: float | None = None
    """Seconds since the trainer last recorded anything; None if it never did."""
    eta_s: float | None = None
    """Seconds until the run is done, at its recent rate; None unless it trains."""


def status(folder: str | Path) -> list[RunStatus]:
    """Return the statuses of the runs below a folder, sorted by name.

    The same as `launch status FOLDER --json`.

    Args:
        folder: A run, an experiment, or a folder of experiments.

    Raises:
        LauncherError: It holds no runs.
        OSError: It cannot be read. What cannot be read below it is a run in the state `unreadable`,
            or an experiment that a logged warning names.
    """
    return read_statuses(find_runs(Path(folder).absolute()))


def read_statuses(
    runs: Sequence[RunFolder], *, jobs: JobPoller | None = None, is_locked: bool = False
) -> list[RunStatus]:
    """Return the status of each run; see `observe`."""
    return [each.status for each in observe(runs, jobs=jobs, is_locked=is_locked)]


def observe(
    runs: Sequence[RunFolder], *, jobs: JobPoller | None = None, is_locked: bool = False
) -> list[ObservedRun]:
    """Return each run's status and record.

    One whose state is damaged counts as failed; one whose files cannot be read is `unreadable`, and
    may be expected to go on if that may pass.

    Args:
        jobs: Pass the same one to poll repeatedly; it caches what Slurm has reported.
        is_locked: Whether the caller holds the locks of the runs' experiments.
    """
    experiments = {run: ExperimentFolder.of_run(run) for run in runs}
    times = {each: file_system_time(each.path) for each in set(experiments.values())}
    packs: dict[PackFolder, float] = {}
    unfinished = set()
    over: dict[RunFolder, RunState] = {}
    reader = PatientReader()
    states = reader.read_each(partial(_first_look, reader), list(experiments))
    for (run, experiment), (state, is_over) in zip(experiments.items(), states, strict=True):
        if is_over:
            over[run] = state
        if state.pack:
            pack = experiment.pack(state.pack)
            packs[pack] = times[experiment]
            if not is_over:
                unfinished.add(pack)
    # States of runs that are not over are read again after their packs: a supervisor that has
    # exited in between has written its last state, which the first read may have missed.
    statuses = pack_statuses(packs, unfinished, jobs or JobPoller(), reader, is_locked=is_locked)
    statuses |= find_unrecorded_jobs(statuses, unfinished)

    def observe_one(run: RunFolder) -> ObservedRun:
        experiment = experiments[run]
        return _observe(run, over.get(run), experiment, statuses, times[experiment], reader)

    return reader.read_each(observe_one, runs)


def _first_look(reader: PatientReader, run: RunFolder) -> tuple[RunState, bool]:
    """Return the state of a run, and whether it is over; that of a new run if it is unreadable."""
    try:
        state = reader.read(partial(read_state, run, timeout_s=0))
        return state, state.status.is_over and not awaits_retry_decision(run, state)
    except _UNREADABLE:  # as `_observe` tells
        return RunState(), False


def _observe(
    run: RunFolder,
    over: RunState | None,
    experiment: ExperimentFolder,
    statuses: Mapping[PackFolder, PackStatus],
    now: float,
    reader: PatientReader,
) -> ObservedRun:
    recorded: RunState | None = None
    try:
        recorded, effective, pack = _read_state(run, over, experiment, statuses, now, reader)
        state = recorded
        is_expected = _is_expected(run, state, effective, pack)
        is_doubted = effective.state in UNFINISHED and _is_unknown(pack)
        doubt = pack.job.description if is_doubted else None
    except _UNREADABLE as error:
        state, pack = RunState(), NO_PACK
        effective = _unreadable(error)
        is_expected = may_pass(error)  # it goes on, perhaps, and is seen as soon as it can be read
        doubt = effective.reason if is_expected else None
    figures = state.figures
    status = RunStatus(
        name=run.name,
        experiment=experiment.name,
        folder=str(run.path),
        state=effective.state,
        iteration=state.iteration,
        num_iterations=state.num_iterations,
        attempts=state.attempts,
        reason=effective.reason,
        concern=state.concern if effective.state == Status.RUNNING else "",
        wandb_id=state.wandb_id,
        wandb_lag=wandb_lag(run, reader, now=now) if state.wandb_id else None,
        is_expected=is_expected,
        pack=state.pack or None,
        job_id=pack.job.job_id or None,
        job_state=pack.job.job_state or None,
        doubt=doubt,
        loss=figures.loss,
        iterations_per_s=figures.iterations_per_s,
        best=figures.best,
        node=figures.node,
        num_nodes=figures.num_nodes,
        eta_s=_eta_s(state) if effective.state == Status.RUNNING else None,
        silent_s=None if figures.alive_at is None else round(max(0.0, now - figures.alive_at), 1),
    )
    return ObservedRun(status=status, recorded=recorded)


def _read_state(
    run: RunFolder,
    over: RunState | None,
    experiment: ExperimentFolder,
    statuses: Mapping[PackFolder, PackStatus],
    now: float,
    reader: PatientReader,
) -> tuple[RunState, EffectiveState, PackStatus]:
    """Return the recorded state, the effective one, and the status of the run's pack.

    Args:
        over: The record of a run that is over, which is not read again.
    """
    state = over or reader.read(partial(read_state, run, timeout_s=0))
    while True:
        pack = statuses.get(experiment.pack(state.pack), NEW_PACK) if state.pack else NO_PACK
        is_open = pack.is_expected and awaits_retry_decision(run, state)
        effective = effective_state(
            Status.RUNNING if is_open else state.status,
            state.reason,
            trained=reader.read(partial(is_live, run.lease, now=now)),
            supervised=pack.is_supervised,
            job=pack.job,
            cancel_requested=reader.read(run.cancel_request.exists),
        )
        if effective.state == state.status:
            return state, effective, pack
        before, state = state, reader.read(partial(read_state, run, timeout_s=0))
        if state == before:  # else the attempt was recorded after the first read
            return state, effective, pack


def _eta_s(state: RunState) -> float | None:
    rate = state.figures.iterations_per_s
    if not rate or not state.num_iterations:
        return None
    return round(max(0, state.num_iterations - state.iteration) / rate, 1)


def _unreadable(error: Exception) -> EffectiveState:
    if isinstance(error, ConfigError) and not isinstance(error, UnavailableError):
        return EffectiveState(state=Status.FAILED, reason=str(error))  # damaged for good
    return EffectiveState(state=Status.UNREADABLE, reason=f"unreadable: {problem_of(error)}")


def _is_unknown(pack: PackStatus) -> bool:
    return pack.job.phase == JobPhase.UNKNOWN and not pack.is_supervised


def _is_expected(
    run: RunFolder, state: RunState, effective: EffectiveState, pack: PackStatus
) -> bool:
    if effective.state.is_over:
        # The trainer has recorded its end; its supervisor has not counted the attempt yet.
        return pack.is_supervised and run.log(state.num_attempts).exists()
    return effective.state in UNFINISHED and pack.is_expected
