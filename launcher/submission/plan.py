"""What is to be done about the runs of an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import field, frozen

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.monitor.status import RunStatus, observe
from trainers.config.config_io import read_run_config
from trainers.config.run_config import RunConfig
from trainers.config_diff import differences
from trainers.errors import ConfigError
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, Status
from trainers.weights.weights_source import find_weights

_MAX_CONFLICTS = 5


@frozen(kw_only=True)
class PlannedRun:
    """A run of the experiment, and what is known of it already."""

    config: RunConfig
    folder: RunFolder
    state: Status
    """The true one; planned if the run is new."""
    recorded: RunState = field(factory=RunState)
    """What its folder says, as it was read with the status; that of a new run if it is new."""
    is_expected: bool = False
    """Whether more becomes of it without a new submission."""
    doubt: str | None = None
    """Why it is not known whether an earlier job may still carry it on."""
    held_job: str | None = None
    """An earlier job that Slurm keeps back, and that would find nothing to do any more."""

    @property
    def is_due(self) -> bool:
        """Whether it is to be submitted: it is not on its way, and has iterations left to do."""
        if self.state == Status.FINISHED:
            return self.recorded.iteration < self.config.num_iterations
        if self.state == Status.WAITING:
            return not self.is_expected
        return self.state not in (Status.SUBMITTED, Status.RUNNING)


def plan_runs(
    folder: ExperimentFolder, configs: Iterable[RunConfig], *, is_locked: bool = False
) -> tuple[PlannedRun, ...]:
    """Compare the runs that are wanted with those that there are; writes nothing.

    Args:
        is_locked: Whether the caller holds the experiment's lock.

    Raises:
        ConfigError: Runs of these names exist and train something else; names what differs. Or a
            run cannot begin with the weights that it is to begin with.
    """
    wanted = [(config, folder.run(config.name)) for config in configs]
    existing = [run for _, run in wanted if run.path.exists()]
    observed = {each.status.name: each for each in observe(existing, is_locked=is_locked)}
    conflicts: list[str] = []
    sources: dict[Path, None] = {}
    planned = []
    for config, run in wanted:
        seen = observed.get(config.name)
        status, state = (seen.status, seen.recorded) if seen else (None, RunState())
        if status and state.identity != config.identity:
            conflicts += _conflict(config, run)
        if config.init_from and not state.saved_iteration:
            sources[config.init_from] = None
        planned.append(
            PlannedRun(
                config=config,
                folder=run,
                state=status.state if status else Status.PLANNED,
                recorded=state,
                is_expected=status is not None and status.is_expected,
                doubt=status.doubt if status else None,
                held_job=_held_job(status) if status else None,
            )
        )
    if conflicts:
        raise ConfigError(_refusal(folder, conflicts))
    if unusable := list(_unusable(sources)):
        raise ConfigError("\n".join(unusable))
    return tuple(planned)


def _held_job(status: RunStatus) -> str | None:
    is_held = status.job_state == "PENDING" and not status.is_expected
    return status.job_id if is_held else None


def _conflict(config: RunConfig, run: RunFolder) -> list[str]:
    """A paragraph, if the run in the folder trains something else."""
    there = read_run_config(run.config)
    if there.identity == config.identity:
        return []
    lines = [f"  {each}" for each in differences(there.what_counts, config.what_counts)]
    return ["\n".join([f"{run.path} holds another run:", *lines])]


def _unusable(sources: Iterable[Path]) -> Iterator[str]:
    for path in sources:
        try:
            find_weights(path)
        except ConfigError as error:
            yield str(error)


def _refusal(folder: ExperimentFolder, conflicts: list[str]) -> str:
    shown, left = conflicts[:_MAX_CONFLICTS], len(conflicts) - _MAX_CONFLICTS
    if left > 0:
        shown = [*shown, f"and {left} more"]
    advice = (
        "A run never changes what it trains. Take the old values, give the experiment another "
        f"name, choose another --root, or remove {folder.path}."
    )
    return "\n".join([*shown, advice])


def refuse_invalid(configs: Iterable[RunConfig]) -> None:
    """Stop at runs that can be of no use.

    Raises:
        ConfigError: The `verify()` of some says so; gives each reason once.
    """
    names_by_reason: dict[str, list[str]] = {}
    for config in configs:
        valid, reason = config.verify()
        if not valid:
            names_by_reason.setdefault(reason, []).append(config.name)
    if names_by_reason:
        faults = [f"{_few(names)}: {reason}" for reason, names in names_by_reason.items()]
        raise ConfigError("\n".join([*faults, "--allow-invalid submits them all the same"]))


def _few(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
