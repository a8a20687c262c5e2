"""What has become of runs: from their folders, and from who holds their locks."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from attrs import frozen

from launcher import file_lock
from launcher.errors import LauncherError
from launcher.experiment_folder import ExperimentFolder
from launcher.true_state import true_state
from trainers.errors import ConfigError
from trainers.run_folder import RunFolder
from trainers.run_lock import is_locked
from trainers.run_state import RunState, read_state


@frozen(kw_only=True)
class RunStatus:
    """One run at one moment."""

    name: str
    experiment: str
    folder: str
    state: str
    """The true one, of `trainers.run_state.STATUSES`."""
    iteration: int
    num_iterations: int
    """0 if the run was never submitted."""
    attempts: dict[str, int]
    """Ended attempts by cause."""
    reason: str
    wandb_id: str
    is_supervised: bool
    """Whether the supervisor that has the run to do lives."""


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


def read_statuses(runs: Sequence[RunFolder]) -> list[RunStatus]:
    """How each run is now; one whose state cannot be read counts as failed, with the reason."""
    # Supervisors before states: whatever one that is gone has written is then read.
    experiments = set(map(ExperimentFolder.of_run, runs))
    living = {experiment: _living_packs(experiment) for experiment in experiments}
    return [_read_status(run, living[ExperimentFolder.of_run(run)]) for run in runs]


def _living_packs(experiment: ExperimentFolder) -> set[str]:
    """Names of the packs whose supervisors live."""
    packs = (experiment.pack(path.name) for path in experiment.jobs.glob("*"))
    return {pack.name for pack in packs if file_lock.is_held(pack.lease)}


def _read_status(run: RunFolder, living_packs: Container[str]) -> RunStatus:
    try:
        state, true, reason = _read_state(run, living_packs)
    except ConfigError as error:
        state, true, reason = RunState(), "failed", str(error)
    return RunStatus(
        name=run.name,
        experiment=ExperimentFolder.of_run(run).name,
        folder=str(run.path),
        state=true,
        iteration=state.iteration,
        num_iterations=state.num_iterations,
        attempts=state.attempts,
        reason=reason or state.reason,
        wandb_id=state.wandb_id,
        is_supervised=state.pack in living_packs,
    )


def _read_state(run: RunFolder, living_packs: Container[str]) -> tuple[RunState, str, str]:
    """What is recorded, the true state, and why that is another one."""
    state = read_state(run)
    while True:
        true, reason = true_state(
            state.status,
            trained=is_locked(run),
            supervised=state.pack in living_packs,
            cancel_requested=run.cancel_request.exists(),
        )
        if not reason:
            return state, true, ""
        before, state = state, read_state(run)
        if state == before:  # else it ended properly after the first look
            return state, true, reason
