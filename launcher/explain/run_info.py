"""Gather everything that the folders and Slurm report about a run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from launcher.clusters.slurm_limits import exceeded
from launcher.errors import SlurmError
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.explain.pending_reasons import is_limit
from launcher.job.bad_nodes import bad_nodes, read_node_failures
from launcher.job.pack import read_pack
from launcher.job.record_end import read_tail
from launcher.monitor.find_run import config_or_none
from launcher.monitor.job_poller import JobPoller
from launcher.monitor.logs import find_logs, job_log_of
from launcher.monitor.run_warnings import RunWarnings, run_warnings
from launcher.monitor.status import RunStatus, read_statuses
from launcher.notify.notices import read_notices
from launcher.os_errors import PatientReader
from launcher.slurm import client
from launcher.slurm.jobs import QueuedJob
from trainers.checkpoints.layout import DAMAGED_PREFIX, folder_name, iterations_in
from trainers.config.checkpoint_config import CheckpointConfig
from trainers.config.run_config import ResourcesConfig, RetriesConfig
from trainers.errors import ConfigError, UnavailableError
from trainers.run.attempt_history import Attempt, attempt_history, read_events
from trainers.run.lease import LeaseRecord, live_holder
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import EventKind, RunState, read_state

_NUM_LINES = 20
_TAIL_BYTES = 16384


@frozen(kw_only=True)
class RunInfo:
    """Everything that the folders and Slurm report about a run."""

    status: RunStatus
    state: RunState
    attempts: tuple[Attempt, ...] = ()
    warnings: RunWarnings = field(factory=RunWarnings)
    job_events: tuple[dict[str, Any], ...] = ()
    """The events of the pack that has the run, or had it last."""
    queued: QueuedJob | None = None
    """The pack's job, if it is in the queue."""
    limits: tuple[str, ...] = ()
    """What its job could ask for at most, and whose limit that was."""
    exceeded: tuple[str, ...] = ()
    """What a pending job asks for too much of to start ever, a sentence each."""
    retries: RetriesConfig | None = None
    """None if the config cannot be read, like `resources` and `saving`."""
    resources: ResourcesConfig | None = None
    saving: CheckpointConfig | None = None
    holder: LeaseRecord | None = None
    """The process that trains the run now."""
    checkpoints: tuple[str, ...] = ()
    """Names, oldest first."""
    damaged: tuple[str, ...] = ()
    """Names of checkpoints that were set aside."""
    bad_nodes: tuple[str, ...] = ()
    """Nodes that failed this experiment, and are avoided."""
    log: str | None = None
    """The log of rank 0 in the newest attempt."""
    last_lines: tuple[str, ...] = ()
    job_log: str | None = None
    """The output of its job, if no attempt has begun since the submission."""
    job_lines: tuple[str, ...] = ()
    """The end of it."""
    untold: tuple[str, ...] = ()
    """Why messages about the run, or about its experiment, did not go out; a sentence each."""
    unreadable: tuple[str, ...] = ()
    """What could not be read, a sentence each."""


def read_run_info(run: RunFolder) -> RunInfo:
    """Return everything known about a run; files that cannot be read are named in `unreadable`."""
    jobs = JobPoller()
    (status,) = read_statuses([run], jobs=jobs)
    pack = ExperimentFolder.of_run(run).pack(status.pack) if status.pack else None
    config = config_or_none(run)
    reader = PatientReader()
    names = reader.read_or((), lambda: _names_in(run.checkpoints))
    events = reader.read_or((), lambda: list(read_events(run.events)))
    logs = reader.read_or((), lambda: [log.path for log in find_logs(run) if log.rank == 0])
    log = logs[-1] if logs else None
    is_early = not has_begun(events)
    job_log = reader.read_or(None, lambda: job_log_of(pack) if pack and is_early else None)
    job_events = reader.read_or((), lambda: list(read_events(pack.events)) if pack else ())
    queue = reader.read_or(None, lambda: jobs.queue_of(pack) if pack and status.job_state else None)
    queued = queue.jobs.get(status.job_id or "") if queue else None
    return RunInfo(
        status=status,
        state=reader.read_or(RunState(), lambda: _state(run)),
        attempts=tuple(attempt_history(events)),
        warnings=run_warnings(events),
        job_events=tuple(job_events),
        queued=queued,
        limits=reader.read_or((), lambda: _limits(pack)),
        exceeded=_exceeded(queued, status.job_id),
        retries=config.retries if config else None,
        resources=config.resources if config else None,
        saving=config.checkpoint if config else None,
        holder=reader.read_or(None, lambda: live_holder(run.lease)),
        checkpoints=tuple(map(folder_name, iterations_in(names))),
        damaged=tuple(name for name in names if name.startswith(DAMAGED_PREFIX)),
        bad_nodes=reader.read_or(
            (), lambda: tuple(bad_nodes(read_node_failures(ExperimentFolder.of_run(run))))
        ),
        log=str(log) if log else None,
        last_lines=reader.read_or((), lambda: _tail(log)),
        job_log=str(job_log.path) if job_log else None,
        job_lines=reader.read_or((), lambda: _tail(job_log.path if job_log else None)),
        untold=reader.read_or((), lambda: _untold(run)),
        unreadable=tuple(dict.fromkeys(reader.problems)),
    )


def has_begun(events: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether an attempt has begun since the run was last submitted."""
    begun = False
    for event in events:
        if event["event"] == EventKind.SUBMITTED:
            begun = False
        elif event["event"] in (EventKind.LAUNCHED, EventKind.ATTEMPT):
            begun = True
    return begun


def _limits(pack: PackFolder | None) -> tuple[str, ...]:
    terms = read_pack(pack).slurm if pack and pack.manifest.exists() else None
    return tuple(terms.limits) if terms else ()


def _exceeded(queued: QueuedJob | None, job_id: str | None) -> tuple[str, ...]:
    """Ask Slurm whether a job that waits because of a limit can ever be within it."""
    if queued is None or job_id is None or queued.state != "PENDING" or not is_limit(queued.reason):
        return ()
    try:
        details = client.job_details(job_id)
        return tuple(exceeded(client.ask_site(), details)) if details else ()
    except SlurmError:  # what the reason alone says has to do
        return ()


def _untold(run: RunFolder) -> tuple[str, ...]:
    return tuple(read_notices(ExperimentFolder.of_run(run)).untold(run.name, time.time()))


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []


def _tail(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    return tuple(read_tail(path, num_lines=_NUM_LINES, num_bytes=_TAIL_BYTES))


def _state(run: RunFolder) -> RunState:
    try:
        return read_state(run, timeout_s=0)
    except UnavailableError:
        raise
    except ConfigError:  # damaged, as the status says
        return RunState()
