"""What has become of runs: from their folders, from who holds their leases, and from Slurm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from launcher.errors import LauncherError
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.unfinished_members import UNFINISHED, awaits_retry_decision
from launcher.monitor.effective_state import EffectiveState, effective_state
from launcher.monitor.job_status import (
    JUST_MADE,
    NOBODY,
    JobPhase,
    JobWatch,
    PackStatus,
    pack_statuses,
)
from trainers.errors import ConfigError
from trainers.run.lease import file_system_time, is_live
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, Status, read_state


@frozen(kw_only=True)
class ObservedRun:
    """A run at one moment, and the record that this was told from."""

    status: RunStatus
    recorded: RunState
    """What `state.json` held then; that of a new run if it cannot be read."""


@frozen(kw_only=True)
class RunStatus:
    """One run at one moment."""

    name: str
    experiment: str
    folder: str
    state: Status
    """The effective one: of Slurm and the leases as well as of the record."""
    iteration: int
    num_iterations: int
    """0 if the run was never submitted."""
    attempts: dict[str, int]
    """Ended attempts by cause."""
    reason: str
    wandb_id: str
    is_expected: bool
    """Whether more becomes of it without a new submission: its supervisor lives, or its job waits
    in the queue, or may do so."""
    pack: str | None = None
    """That has the run to do, or had it last."""
    job_id: str | None = None
    """The pack's job, as Slurm calls it."""
    job_state: str | None = None
    """Slurm's word for the job if it is in the queue, such as PENDING."""
    doubt: str | None = None
    """Why it is not known whether the job may still carry the run on."""


def status(folder: str | Path) -> list[RunStatus]:
    """The statuses of the runs below a folder, in the order of their names.

    The same as `launch status FOLDER --json`.

    Args:
        folder: Of a run, of an experiment, or of experiments.

    Raises:
        LauncherError: It holds no run.
    """
    return read_statuses(find_runs(Path(folder).absolute()))


def find_runs(path: Path) -> list[RunFolder]:
    """The runs below a root, experiment or run folder, in the order of their names.

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
        what = "holds no runs" if path.is_dir() else "is no folder"
        raise LauncherError(
            f"{path} {what}; give the folder of a run, of an experiment, or the root folder of "
            "`launch submit` (./experiments unless --root says otherwise)"
        )
    return runs


def _runs_of(experiment: ExperimentFolder) -> Iterator[RunFolder]:
    """The runs of one experiment; none if it is not the folder of an experiment."""
    if experiment.runs.is_dir():
        names = sorted(child.name for child in experiment.runs.iterdir())
        yield from (experiment.run(name) for name in names if not name.startswith("."))


def read_statuses(
    runs: Sequence[RunFolder], *, jobs: JobWatch | None = None, is_locked: bool = False
) -> list[RunStatus]:
    """How each run is now; see `observe`."""
    return [each.status for each in observe(runs, jobs=jobs, is_locked=is_locked)]


def observe(
    runs: Sequence[RunFolder], *, jobs: JobWatch | None = None, is_locked: bool = False
) -> list[ObservedRun]:
    """How each run is now; one whose state cannot be read counts as failed, with the reason.

    Args:
        jobs: For who looks more than once.
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
    # The states of runs that are not over are read again after their packs: whatever a supervisor
    # that is gone by then has written is not missed.
    statuses = pack_statuses(packs, unfinished, jobs or JobWatch(), is_locked=is_locked)
    return [
        _observe(run, over.get(run), experiments[run], statuses, times[experiments[run]])
        for run in runs
    ]


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
    try:
        state, true, pack = _read_state(run, over, experiment, statuses, now)
    except ConfigError as error:
        state, pack = RunState(), NOBODY
        true = EffectiveState(state=Status.FAILED, reason=str(error))
    status = RunStatus(
        name=run.name,
        experiment=experiment.name,
        folder=str(run.path),
        state=true.state,
        iteration=state.iteration,
        num_iterations=state.num_iterations,
        attempts=state.attempts,
        reason=true.reason,
        wandb_id=state.wandb_id,
        is_expected=_is_expected(run, state, true, pack),
        pack=state.pack or None,
        job_id=pack.job.job_id or None,
        job_state=pack.job.job_state or None,
        doubt=pack.job.words if true.state in UNFINISHED and _is_doubtful(pack) else None,
    )
    return ObservedRun(status=status, recorded=state)


def _read_state(
    run: RunFolder,
    over: RunState | None,
    experiment: ExperimentFolder,
    statuses: Mapping[PackFolder, PackStatus],
    now: float,
) -> tuple[RunState, EffectiveState, PackStatus]:
    """What is recorded, what is true, and what is known of the pack that has the run to do.

    Args:
        over: The record of a run that is over; it need not be read again.
    """
    state = over or read_state(run)
    while True:
        pack = statuses.get(experiment.pack(state.pack), JUST_MADE) if state.pack else NOBODY
        is_open = pack.is_expected and awaits_retry_decision(run, state)
        true = effective_state(
            Status.RUNNING if is_open else state.status,
            state.reason,
            trained=is_live(run.lease, now=now),
            supervised=pack.is_supervised,
            job=pack.job,
            cancel_requested=run.cancel_request.exists(),
        )
        if true.state == state.status:
            return state, true, pack
        before, state = state, read_state(run)
        if state == before:  # else it ended properly after the first look
            return state, true, pack


def _is_doubtful(pack: PackStatus) -> bool:
    return pack.job.phase == JobPhase.UNKNOWN and not pack.is_supervised


def _is_expected(run: RunFolder, state: RunState, true: EffectiveState, pack: PackStatus) -> bool:
    """Also if the trainer has told of the end of an attempt that its supervisor is yet to judge."""
    if true.state.is_over:
        return pack.is_supervised and run.log(state.num_attempts).exists()
    return true.state in UNFINISHED and pack.is_expected
