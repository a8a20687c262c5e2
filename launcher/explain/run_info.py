"""Gather what is to be known about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import field, frozen

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.explain.attempt_history import Attempt, attempt_history
from launcher.job.pack import read_events
from launcher.monitor.job_status import JobWatch
from launcher.monitor.logs import find_logs
from launcher.monitor.run_warnings import RunWarnings, run_warnings
from launcher.monitor.status import RunStatus, read_statuses
from launcher.slurm.jobs import QueuedJob
from trainers.checkpoints.layout import DAMAGED_PREFIX, folder_name, iterations_in
from trainers.config.checkpoint_config import CheckpointConfig
from trainers.config.config_io import read_run_config
from trainers.config.run_config import ResourcesConfig, RetriesConfig, RunConfig
from trainers.errors import ConfigError
from trainers.run.lease import LeaseRecord, live_holder
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import RunState, read_state

_NUM_LINES = 20
_TAIL_BYTES = 16384


def gather(run: RunFolder) -> RunInfo:
    """All about one run; what cannot be read is left out."""
    jobs = JobWatch()
    (status,) = read_statuses([run], jobs=jobs)
    pack = ExperimentFolder.of_run(run).pack(status.pack) if status.pack else None
    config = _config(run)
    names = sorted(path.name for path in run.checkpoints.glob("*"))
    events = list(read_events(run.events))
    logs = [log for log in find_logs(run) if log.rank == 0]
    return RunInfo(
        status=status,
        state=_state(run),
        attempts=tuple(attempt_history(events)),
        remarks=run_warnings(events),
        job_events=tuple(read_events(pack.events)) if pack else (),
        queued=jobs.view().jobs.get(status.job_id or "") if status.job_state else None,
        retries=config.retries if config else None,
        resources=config.resources if config else None,
        saving=config.checkpoint if config else None,
        holder=live_holder(run.lease),
        checkpoints=tuple(map(folder_name, iterations_in(names))),
        damaged=tuple(name for name in names if name.startswith(DAMAGED_PREFIX)),
        log=str(logs[-1].path) if logs else None,
        last_lines=_last_lines(logs[-1].path) if logs else (),
    )


def _config(run: RunFolder) -> RunConfig | None:
    try:
        return read_run_config(run.config)
    except ConfigError:
        return None


def _state(run: RunFolder) -> RunState:
    try:
        return read_state(run)
    except ConfigError:
        return RunState()


def _last_lines(log: Path) -> tuple[str, ...]:
    with log.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return tuple(line for line in text.splitlines() if line.strip())[-_NUM_LINES:]


@frozen(kw_only=True)
class RunInfo:
    """All that the folders and Slurm say about a run."""

    status: RunStatus
    state: RunState
    attempts: tuple[Attempt, ...] = ()
    remarks: RunWarnings = field(factory=RunWarnings)
    job_events: tuple[dict[str, Any], ...] = ()
    """Of the pack that has the run, or had it last."""
    queued: QueuedJob | None = None
    """The pack's job, if it is in the queue."""
    retries: RetriesConfig | None = None
    """As the next ones, None if the config cannot be read."""
    resources: ResourcesConfig | None = None
    saving: CheckpointConfig | None = None
    holder: LeaseRecord | None = None
    """Who trains the run now."""
    checkpoints: tuple[str, ...] = ()
    """Names, oldest first."""
    damaged: tuple[str, ...] = ()
    """Names of checkpoints that were set aside."""
    log: str | None = None
    """Of the newest attempt."""
    last_lines: tuple[str, ...] = ()
