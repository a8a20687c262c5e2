"""The runs of one job, and what they share."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.machine import Machine
from trainers.config.run_config import ResourcesConfig, RetriesConfig, RunConfig
from trainers.run.atomic_write import atomic_write


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """All whole lines, oldest first; none if there is no file."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # torn by a kill
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


class PackEventKind(StrEnum):
    """What happened to the job of a pack; the text is that of its `events.jsonl`."""

    STARTED = "started"
    """A supervisor has come up on a node."""
    STOPPING = "stopping"
    """The job was asked to stop."""
    REQUEUEING = "requeueing"
    RESUBMITTED = "resubmitted"
    STEP_ENDED = "step ended"
    """The batch script saw a step end that its supervisor had not ended."""
    ENDED = "ended"


def append_pack_event(folder: PackFolder, kind: PackEventKind, **details: Any) -> None:
    """Add a line, with the wall-clock time in seconds."""
    line = json.dumps({"time": round(time.time(), 3), "event": kind, **details})
    with folder.events.open("ab", buffering=0) as file:
        file.write(line.encode() + b"\n")


def read_pack_events(folder: PackFolder) -> Iterator[dict[str, Any]]:
    """All whole lines, oldest first."""
    return read_events(folder.events)


@frozen(kw_only=True)
class Member:
    """A run in a pack, what it asks for, and where it was planned to run."""

    name: str
    gpus: float
    """On each of its nodes, as are the cores and the memory."""
    cpus: int
    memory_gb: float = 0.0
    nodes: tuple[int, ...] = (0,)
    """Positions among the nodes of the job; the first one leads."""
    planned_gpus: tuple[tuple[int, ...], ...] = ()
    """Positions among the GPUs of each node."""
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
    """On which terms Slurm has the job of a pack."""

    cluster: str
    """The name of the cluster config."""
    partition: str
    time_limit_s: int
    signal_lead_s: int
    """How long before the time limit the job hears of it."""
    grace_s: float
    """Between the signal of a preemption and the kill."""
    may_requeue: bool
    """Whether the job may be requeued; else, or if that is refused, it is submitted anew."""
    accounting: bool
    """Whether Slurm keeps records of jobs that have ended."""
    parameters: dict[str, Any]
    """What submitit was told, to tell it again."""


@frozen(kw_only=True)
class Pack:
    """The contents of `pack.json`."""

    members: tuple[Member, ...]
    """In the order of their starts."""
    machine: Machine | None
    """What the members may use, as the submitting process saw it; None if each node is to look."""
    grace_s: float
    """Time for a member to checkpoint and go once it is cancelled, before it is killed."""
    num_nodes: int = 1
    code: str = ""
    """The folder of the code that runs; empty for the code that is installed."""
    slurm: SlurmTerms | None = None
    """None for a local job, which does not come back by itself when it is stopped."""


def write_pack(folder: PackFolder, pack: Pack) -> None:
    with atomic_write(folder.manifest) as file:
        file.write(json.dumps(attrs.asdict(pack), indent=1).encode())


def read_pack(folder: PackFolder) -> Pack:
    data = json.loads(folder.manifest.read_bytes())
    machine, slurm = data.pop("machine"), data.pop("slurm")
    return Pack(
        members=tuple(map(_member, data.pop("members"))),
        machine=machine and _machine(machine),
        slurm=slurm and SlurmTerms(**slurm),
        **data,
    )


def _member(data: dict[str, Any]) -> Member:
    return Member(
        nodes=tuple(data.pop("nodes")),
        planned_gpus=tuple(map(tuple, data.pop("planned_gpus"))),
        retries=RetriesConfig(**data.pop("retries")),
        **data,
    )


def _machine(data: dict[str, Any]) -> Machine:
    return Machine(gpus=tuple(data.pop("gpus")), cores=tuple(data.pop("cores")), **data)


@frozen(kw_only=True)
class SubmittedJob:
    """The contents of `job.json`; a pack that was never submitted to a scheduler has none."""

    job_id: str
    """`ARRAY_TASK` for a task of an array; empty while the scheduler is being asked."""
    submitted: float
    """Unix time in seconds."""
    resubmissions: int = 0
    """How many jobs the pack had before."""
    replaces: str = ""
    """The last one of these."""

    def is_replaced(self, job_id: str) -> bool:
        """Whether another job has the pack, which this one had once."""
        return job_id == self.replaces or self.job_id not in ("", job_id)


def write_job(folder: PackFolder, job: SubmittedJob) -> None:
    with atomic_write(folder.job) as file:
        file.write(json.dumps(attrs.asdict(job)).encode())


def read_job(folder: PackFolder) -> SubmittedJob | None:
    """The job of a pack; None if it has none, or none yet."""
    try:
        return SubmittedJob(**json.loads(folder.job.read_bytes()))
    except FileNotFoundError:
        return None
