"""The status of runs, from their folders, their leases, and Slurm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from launcher.errors import LauncherError
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.unfinished_members import UNFINISHED, awaits_retry_decision
from launcher.monitor.effective_state import EffectiveState, effective_state
from launcher.monitor.job_status import (
    NEW_PACK,
    NO_PACK,
    JobPhase,
    JobPoller,
    PackStatus,
    pack_statuses,
)
from trainers.errors import ConfigError
from trainers.run.lease import is_live
from trainers.run.lease_file import file_system_time
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, Status, read_state


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
    pack: str | None = None
    """The pack that the run is assigned to, or was last."""
    job_id: str | None = None
    """The pack's job, as Slurm calls it."""
    job_state: str | None = None
    """Slurm's state of the job if it is in the queue, such as PENDING."""
    doubt: str | None = None
    """Why it is not known whether the job may still continue the run, as when Slurm is silent."""


def status(folder: str | Path) -> list[RunStatus]:
    """Return the statuses of the runs below a folder, sorted by name.

    The same as `launch status FOLDER --json`.

    Args:
        folder: A run, an experiment, or a folder of experiments.

    Raises:
        LauncherError: It holds no runs.
    """
    return read_statuses(find_runs(Path(folder).absolute()))


def find_runs(path: Path) -> list[RunFolder]:
    """Return the runs below a root, experiment or run folder, sorted by name.

    Raises:
        LauncherError: There are none.
    """
    if (path / "config.yaml").exists() or (path / "state.json").exists():
        return [RunFolder(path)]
    experiments = [ExperimentFolder(path)]
    if path.is_dir() and not experiments[0].runs.is_dir():
        experiments = [ExperimentFolder(child) for child in sorted(path.iterdir())]
    runs = [run for experiment in experiments for run in _runs_of(experiment)]
    if not runs:
        what = "holds no runs" if path.is_dir() else "is not a directory"
        raise LauncherError(
            f"{path} {what}; give the folder of a run, of an experiment, or the root folder of "
            "`launch submit` (./experiments unless --root says otherwise)"
        )
    return runs


def read_statuses(
    runs: Sequence[RunFolder], *, jobs: JobPoller | None = None, is_locked: bool = False
) -> list[RunStatus]:
    """Return the status of each run; see `observe`."""
    return [each.status for each in observe(runs, jobs=jobs, is_locked=is_locked)]


def observe(
    runs: Sequence[RunFolder], *, jobs: JobPoller | None = None, is_locked: bool = False
) -> list[ObservedRun]:
    """Return each run's status and record; one with an unreadable state counts as failed.

    Args:
        jobs: Pass the same one to poll repeatedly; it caches what Slurm has reported.
        is_locked: Whether the caller holds the locks of the runs' experiments.
    """
    experiments = {run: ExperimentFolder.of_run(run) for run in runs}
    times = {each: file_system_time(each.path) for each in set(experiments.values())}
    packs: dict[PackFolder, float] = {}
    unfinished = set()
    over: dict[RunFolder, RunState] = {}
    for run, experiment in experiments.items():
        state = _state_or_none(run)
        if state is None:
            continue
        is_over = state.status.is_over and not awaits_retry_decision(run, state)
        if is_over:
            over[run] = state
        if state.pack:
            pack = experiment.pack(state.pack)
            packs[pack] = times[experiment]
            if not is_over:
                unfinished.add(pack)
    # States of runs that are not over are read again after their packs: a supervisor that has
    # exited in between has written its last state, which the first read may have missed.
    statuses = pack_statuses(packs, unfinished, jobs or JobPoller(), is_locked=is_locked)
    return [
        _observe(run, over.get(run), experiments[run], statuses, times[experiments[run]])
        for run in runs
    ]


def _runs_of(experiment: ExperimentFolder) -> Iterator[RunFolder]:
    """Yield the runs of an experiment; none if the folder is not an experiment."""
    if experiment.runs.is_dir():
        names = sorted(child.name for child in experiment.runs.iterdir())
        yield from (experiment.run(name) for name in names if not name.startswith("."))


def _state_or_none(run: RunFolder) -> RunState | None:
    try:
        return read_state(run)
    except ConfigError:
        return None


def _observe(
    run: RunFolder,
    over: RunState | None,
    experiment: ExperimentFolder,
    statuses: Mapping[PackFolder, PackStatus],
    now: float,
) -> ObservedRun:
    recorded: RunState | None = None
    try:
        recorded, effective, pack = _read_state(run, over, experiment, statuses, now)
        state = recorded
    except ConfigError as error:
        state, pack = RunState(), NO_PACK
        effective = EffectiveState(state=Status.FAILED, reason=str(error))
    status = RunStatus(
        name=run.name,
        experiment=experiment.name,
        folder=str(run.path),
        state=effective.state,
        iteration=state.iteration,
        num_iterations=state.num_iterations,
        attempts=state.attempts,
        reason=effective.reason,
        wandb_id=state.wandb_id,
        is_expected=_is_expected(run, state, effective, pack),
        pack=state.pack or None,
        job_id=pack.job.job_id or None,
        job_state=pack.job.job_state or None,
        doubt=pack.job.description if effective.state in UNFINISHED and _is_unknown(pack) else None,
    )
    return ObservedRun(status=status, recorded=recorded)


def _read_state(
    run: RunFolder,
    over: RunState | None,
    experiment: ExperimentFolder,
    statuses: Mapping[PackFolder, PackStatus],
    now: float,
) -> tuple[RunState, EffectiveState, PackStatus]:
    """Return the recorded state, the effective one, and the status of the run's pack.

    Args:
        over: The record of a run that is over, which is not read again.
    """
    state = over or read_state(run)
    while True:
        pack = statuses.get(experiment.pack(state.pack), NEW_PACK) if state.pack else NO_PACK
        is_open = pack.is_expected and awaits_retry_decision(run, state)
        effective = effective_state(
            Status.RUNNING if is_open else state.status,
            state.reason,
            trained=is_live(run.lease, now=now),
            supervised=pack.is_supervised,
            job=pack.job,
            cancel_requested=run.cancel_request.exists(),
        )
        if effective.state == state.status:
            return state, effective, pack
        before, state = state, read_state(run)
        if state == before:  # else the attempt was recorded after the first read
            return state, effective, pack


def _is_unknown(pack: PackStatus) -> bool:
    return pack.job.phase == JobPhase.UNKNOWN and not pack.is_supervised


def _is_expected(
    run: RunFolder, state: RunState, effective: EffectiveState, pack: PackStatus
) -> bool:
    if effective.state.is_over:
        # The trainer has recorded its end; its supervisor has not counted the attempt yet.
        return pack.is_supervised and run.log(state.num_attempts).exists()
    return effective.state in UNFINISHED and pack.is_expected
