"""The runs of one job, and what they share."""

from __future__ import annotations

import json
from typing import Any

import attrs
from attrs import field, frozen

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.machine import Machine
from trainers.atomic_write import atomic_write
from trainers.run_config import ResourcesConfig, RetriesConfig, RunConfig


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
