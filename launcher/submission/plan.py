"""Compare the runs of an experiment with their folders: which are due, and which are invalid."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import attrs
from attrs import field, frozen

from launcher.errors import FilesError, LauncherError
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.pack import owner_of
from launcher.monitor.status import RunStatus, observe
from launcher.tables import first_names
from trainers.config.artifact_address import ArtifactAddress, WeightsPath
from trainers.config.config_io import read_run_config
from trainers.config.run_config import RunConfig
from trainers.config_diff import are_new_words, differences
from trainers.datasets.understood_grid import is_read_alike
from trainers.errors import ConfigError
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, Status
from trainers.weights.wandb_artifact import CheckpointArtifact, find_artifact
from trainers.weights.weights_source import find_weights

_MAX_CONFLICTS = 5


@frozen(kw_only=True)
class PlannedRun:
    """A run of the experiment, and its state before the submission."""

    config: RunConfig
    folder: RunFolder
    state: Status
    """The effective one; planned if the run is new."""
    recorded: RunState = field(factory=RunState)
    """The state in its folder, as read with the status; the default one if the run is new."""
    is_expected: bool = False
    """Whether it is going to resume without a new submission."""
    unknown_because: str | None = None
    """Why it is unknown whether an earlier job may still resume it; None if it is known."""
    held_job: str | None = None
    """The id of an earlier job that Slurm holds, and that has nothing left to do."""
    weights: CheckpointArtifact | None = None
    """What `init_from` stands for at W&B, if it was asked."""

    @property
    def is_due(self) -> bool:
        """Whether to submit it: it has iterations left, and is neither queued nor running."""
        if self.state == Status.FINISHED:
            return self.recorded.iteration < self.config.num_iterations
        if self.state == Status.WAITING:
            return not self.is_expected
        return self.state not in (Status.SUBMITTED, Status.RUNNING)


def plan_runs(
    folder: ExperimentFolder, configs: Iterable[RunConfig], *, is_locked: bool = False
) -> tuple[PlannedRun, ...]:
    """Compare the configs with the existing runs; write nothing.

    Args:
        is_locked: Whether the caller holds the experiment's lock.

    Raises:
        ConfigError: Runs of these names exist and train something else; says what differs. Or the
            weights that a run starts from cannot be used.
        UnavailableError: W&B is away, and a run starts from weights there.
        FilesError: A run exists and cannot be read.
    """
    wanted = [(config, folder.run(config.name)) for config in configs]
    existing = [run for _, run in wanted if run.path.exists()]
    observed = {each.status.name: each for each in observe(existing, is_locked=is_locked)}
    conflicts: list[str] = []
    sources: dict[WeightsPath, CheckpointArtifact | None] = {}
    planned = []
    for config, run in wanted:
        seen = observed.get(config.name)
        status, state = (seen.status, seen.recorded) if seen else (None, RunState())
        if state is None:  # overwriting it would lose the attempts and the W&B id
            assert status is not None
            is_unreadable = status.state == Status.UNREADABLE
            raise (FilesError if is_unreadable else ConfigError)(status.reason)
        if status and state.identity != config.fingerprint:
            conflicts += _conflict(config, run)
        if config.init_from and not state.saved_iteration and not _is_taken(config, run):
            sources[config.init_from] = None
        planned.append(
            PlannedRun(
                config=config,
                folder=run,
                state=status.state if status else Status.PLANNED,
                recorded=state,
                is_expected=status is not None and status.is_expected,
                unknown_because=status.doubt if status else None,
                held_job=_held_job(status) if status else None,
            )
        )
    if conflicts:
        raise ConfigError(_refusal(folder, conflicts))
    if unusable := list(_unusable(sources)):
        raise ConfigError("\n".join(unusable))
    return tuple(
        attrs.evolve(each, weights=sources.get(each.config.init_from))
        if each.config.init_from
        else each
        for each in planned
    )


def refuse_invalid(configs: Iterable[RunConfig]) -> None:
    """Refuse runs that cannot give a useful result.

    Raises:
        ConfigError: The `verify()` of some fails; gives each reason once.
    """
    names_by_reason: dict[str, list[str]] = {}
    for config in configs:
        valid, reason = config.verify()
        if not valid:
            names_by_reason.setdefault(reason, []).append(config.name)
    if names_by_reason:
        faults = [f"{first_names(names, 1)}: {reason}" for reason, names in names_by_reason.items()]
        raise ConfigError("\n".join([*faults, "--allow-invalid submits them anyway"]))


def refuse_runs_of_others(
    folder: ExperimentFolder, runs: Iterable[PlannedRun], *, take_over: bool
) -> None:
    """Refuse to go on with runs that another user has submitted, unless they are taken over.

    Raises:
        LauncherError: There are some; names their owners.
    """
    if take_over:
        return
    names_by_owner: dict[str, list[str]] = {}
    for run in runs:
        if run.is_due and run.recorded.pack:
            owner = owner_of(folder.pack(run.recorded.pack))
            if owner and owner.uid != os.getuid():
                names_by_owner.setdefault(owner.name, []).append(run.config.name)
    if names_by_owner:
        whose = "; ".join(
            f"{first_names(names, 3)}: submitted by {owner}"
            for owner, names in names_by_owner.items()
        )
        raise LauncherError(
            f"these runs are another user's ({whose}), and would become yours: ask first, then add "
            "--take-over; or give your runs another name, or another --root"
        )


def _held_job(status: RunStatus) -> str | None:
    is_held = status.job_state == "PENDING" and not status.is_expected
    return status.job_id if is_held else None


def _conflict(config: RunConfig, run: RunFolder) -> list[str]:
    """Return a paragraph if the run in the folder trains something else, else nothing."""
    existing = read_run_config(run.config)
    if existing.fingerprint == config.fingerprint:
        return []
    found = list(differences(existing.fingerprint_fields, config.fingerprint_fields))
    if are_new_words(found) and _reads_alike(existing, config):
        return []
    lines = [f"  {each}" for each in found]
    return ["\n".join([f"{run.path} holds another run:", *lines])]


def _reads_alike(existing: RunConfig, config: RunConfig) -> bool:
    return all(
        array == before.arrays[key] or is_read_alike(before.arrays[key], array)
        for before, now in zip(existing.datasets, config.datasets, strict=True)
        for key, array in now.arrays.items()
    )


def _is_taken(config: RunConfig, run: RunFolder) -> bool:
    """Return whether W&B need not be asked again: what its alias stood for is recorded."""
    return isinstance(config.init_from, ArtifactAddress) and run.initial_weights.exists()


def _unusable(sources: dict[WeightsPath, CheckpointArtifact | None]) -> Iterator[str]:
    """Find the weights, each once; yield what is wrong with those that cannot be used."""
    for path in sources:
        try:
            if isinstance(path, ArtifactAddress):
                sources[path] = find_artifact(path)
            else:
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
