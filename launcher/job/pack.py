"""A pack: the runs of one job, the job itself, and its events, as files."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, TypeVar

import attrs
from attrs import field, frozen

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.machine import Machine
from launcher.slurm.this_user import user_name
from trainers.config.run_config import ResourcesConfig, RetriesConfig, RunConfig
from trainers.run.atomic_write import append_line, atomic_write
from trainers.run.attempt_history import read_events
from trainers.run.backoff import retry

T = TypeVar("T")

PATIENCE_S = 30.0
"""How long a file of the pack may be away, or be seen half written through NFS."""


_NOBODY = {"user": "", "uid": None}
"""Who submitted what was written before that was recorded."""


@frozen(kw_only=True)
class Member:
    """A run in a pack, what it asks for, and where it was planned to run."""

    name: str
    gpus: float
    """Per node, like `cpus` and `memory_gb`; below 1, a share of one GPU."""
    cpus: int
    memory_gb: float = 0.0
    nodes: tuple[int, ...] = (0,)
    """Indices of the job's nodes; the first one leads."""
    planned_gpus: tuple[tuple[int, ...], ...] = ()
    """For each node, the indices of its GPUs."""
    retries: RetriesConfig = field(factory=RetriesConfig)

    @property
    def ranks_per_node(self) -> int:
        return max(1, int(self.gpus))

    @property
    def num_ranks(self) -> int:
        return len(self.nodes) * self.ranks_per_node

    @classmethod
    def of(
        cls,
        config: RunConfig,
        *,
        nodes: tuple[int, ...] = (0,),
        planned_gpus: tuple[tuple[int, ...], ...] = (),
    ) -> Member:
        resources: ResourcesConfig = config.resources
        return cls(
            name=config.name,
            gpus=resources.gpus,
            cpus=resources.cpus,
            memory_gb=resources.memory_gb,
            nodes=nodes,
            planned_gpus=planned_gpus,
            retries=config.retries,
        )


@frozen(kw_only=True)
class SlurmTerms:
    """The limits and options under which Slurm runs the job of a pack."""

    cluster: str
    """The name of the cluster config."""
    partition: str
    time_limit_s: int
    signal_lead_s: int
    """How long before the time limit Slurm signals the job."""
    grace_s: float
    """Between the preemption signal and the kill."""
    may_requeue: bool
    """Whether the job may be requeued; if not, or if that is refused, it is submitted again."""
    accounting: bool
    """Whether `sacct` has records of jobs that have ended."""
    parameters: dict[str, Any]
    """The parameters for submitit, kept for a resubmission."""
    limits: tuple[str, ...] = ()
    """What a job could ask for at most, and whose limit that was."""
    gpu_type: str | None = None
    """The type of its GPUs; None: without a type, or not known."""
    has_whole_nodes: bool = False
    """Whether all GPUs of its nodes are its own, without having been asked for."""
    divides_memory: bool = True
    """Whether Slurm was asked for memory: what it gave is then divided among the members."""
    options: dict[str, Any] = field(factory=dict)
    """The `SlurmOptions` of the submission that were given, for `launch resubmit`."""


@frozen(kw_only=True)
class Pack:
    """The contents of `pack.json`."""

    members: tuple[Member, ...]
    """In the order in which they start."""
    machine: Machine | None
    """What the members may use, as the submitting process saw it; None: each node finds out."""
    grace_s: float
    """Time for a cancelled member to checkpoint and exit, before it is killed."""
    num_nodes: int = 1
    code: str = ""
    """The folder of the code that runs; empty for the code that is installed."""
    slurm: SlurmTerms | None = None
    """None for a local job, which is not requeued when it is stopped."""
    cluster: str = "local"
    """The name of the cluster config of a local job, or its path."""
    user: str = field(factory=user_name)
    """Who submitted it; empty if that is not recorded."""
    uid: int | None = field(factory=os.getuid)


def write_pack(folder: PackFolder, pack: Pack) -> None:
    with atomic_write(folder.manifest) as file:
        file.write(json.dumps(attrs.asdict(pack), indent=1).encode())


def read_pack(folder: PackFolder) -> Pack:
    """Return the contents of `pack.json`, without what only a later version knows."""
    data = {**_NOBODY, **json.loads(folder.manifest.read_bytes())}
    machine, slurm = data.pop("machine"), data.pop("slurm")
    return Pack(
        members=tuple(map(_member, data.pop("members"))),
        machine=machine and _machine(machine),
        slurm=slurm and _terms(slurm),
        **_known(Pack, data),
    )


@frozen(kw_only=True)
class SubmittedJob:
    """The contents of `job.json`; a pack that was never submitted to a scheduler has none."""

    job_id: str
    """`ARRAY_TASK` for a task of an array; empty while the job is being submitted."""
    submitted: float
    """Unix time in seconds."""
    resubmissions: int = 0
    """How many jobs the pack had before."""
    replaces: str = ""
    """The last of these jobs."""
    user: str = field(factory=user_name)
    """Who submitted it; empty if that is not recorded."""
    uid: int | None = field(factory=os.getuid)

    def is_replaced(self, job_id: str) -> bool:
        """Return whether the pack has moved from this job to another one."""
        return job_id == self.replaces or self.job_id not in ("", job_id)


def write_job(folder: PackFolder, job: SubmittedJob) -> None:
    """Write `job.json`, for the code that the pack was submitted with, and that its jobs run.

    Where that does not record who submits, it refuses to read who did.
    """
    data = attrs.asdict(job)
    if not _says_who(folder):
        data = {key: value for key, value in data.items() if key not in _NOBODY}
    with atomic_write(folder.job) as file:
        file.write(json.dumps(data).encode())


def _says_who(folder: PackFolder) -> bool:
    try:
        return "uid" in json.loads(folder.manifest.read_bytes())
    except FileNotFoundError:
        return True


def read_job(folder: PackFolder) -> SubmittedJob | None:
    """Return the job of a pack; None if it was not submitted to a scheduler (yet)."""
    try:
        data = {**_NOBODY, **json.loads(folder.job.read_bytes())}
        return SubmittedJob(**_known(SubmittedJob, data))
    except FileNotFoundError:
        return None


def read_own_job(folder: PackFolder) -> SubmittedJob | None:
    """Return the job of a pack to a process of that job; None if nobody has written it yet.

    Raises:
        FileNotFoundError: It was written, since the pack has events, but does not show.
    """
    job = read_job(folder)
    if job is None and folder.events.exists():
        raise FileNotFoundError(
            errno.ENOENT, "is missing, though the pack has events", str(folder.job)
        )
    return job


@frozen(kw_only=True)
class Owner:
    """The user who submitted a pack, or its last job."""

    name: str
    uid: int


def owner_of(folder: PackFolder) -> Owner | None:
    """Return whose pack it is; None if that is not recorded, or cannot be read."""
    try:
        record = read_job(folder) or read_pack(folder)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return None if record.uid is None else Owner(name=record.user, uid=record.uid)


class PackEventKind(StrEnum):
    """What happened to the job of a pack; the text is that of its `events.jsonl`."""

    STARTED = "started"
    """A supervisor has started on a node."""
    START_FAILED = "start failed"
    """A supervisor could not set itself up on a node; its `error` says why."""
    BEGAN = "began"
    """The first member of this start of the job has its processes."""
    NOT_SHARED = "not shared"
    """The GPUs of a node take one process each, so its shares of GPUs run one after the other."""
    STOPPING = "stopping"
    """The job was asked to stop."""
    REQUEUEING = "requeueing"
    RESUBMITTED = "resubmitted"
    STEP_ENDED = "step ended"
    """The step exited without its supervisor having recorded an end; see `batch_end`."""
    ENDED = "ended"


def append_pack_event(folder: PackFolder, kind: PackEventKind, **details: Any) -> None:
    """Append a line to the pack's `events.jsonl`, with the Unix time in seconds."""
    event = {"time": round(time.time(), 3), "event": kind, **details}
    append_line(folder.events, json.dumps(event).encode() + b"\n")


def read_pack_events(folder: PackFolder) -> Iterator[dict[str, Any]]:
    """Yield the complete lines of the pack's `events.jsonl`, oldest first."""
    return read_events(folder.events)


def patiently(read: Callable[[], T], timeout_s: float = PATIENCE_S) -> T:
    """Return what a file of the pack says; try again while it cannot be read, or is half of one."""
    return retry(
        read, timeout_s=timeout_s, passes=lambda error: isinstance(error, (OSError, ValueError))
    )


def _member(data: dict[str, Any]) -> Member:
    return Member(
        nodes=tuple(data.pop("nodes")),
        planned_gpus=tuple(map(tuple, data.pop("planned_gpus"))),
        retries=RetriesConfig(**_known(RetriesConfig, data.pop("retries"))),
        **_known(Member, data),
    )


def _machine(data: dict[str, Any]) -> Machine:
    gpus, cores = tuple(data.pop("gpus")), tuple(data.pop("cores"))
    return Machine(gpus=gpus, cores=cores, **_known(Machine, data))


def _terms(data: dict[str, Any]) -> SlurmTerms:
    return SlurmTerms(limits=tuple(data.pop("limits", ())), **_known(SlurmTerms, data))


def _known(kind: type[attrs.AttrsInstance], data: dict[str, Any]) -> dict[str, Any]:
    """Return what a class has fields for: a later version may have written more."""
    return {key: data[key] for key in attrs.fields_dict(kind).keys() & data.keys()}
