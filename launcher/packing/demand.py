"""What runs ask for and what a node has, also in integer units that add up exactly."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor, isinf

from attrs import evolve, field, frozen
from attrs.validators import ge, gt, optional

GPU = 10**17
"""Units of one GPU. Shares count as they are written: as floats, ten of 0.1 are not 1."""
GB = 10**9
"""Units of one GB of memory."""
_UNTRACKED = 10**9 * GB
"""Memory of a node that does not say how much it has."""


@frozen(kw_only=True)
class Demand:
    """What one run asks for; GPUs, CPUs and memory on each of its nodes."""

    name: str
    nodes: int = field(default=1, validator=ge(1))
    gpus: float = field(validator=ge(0))
    """0, a share below 1, or a whole number."""
    cpus: int = field(validator=ge(0))
    memory_gb: float = field(validator=ge(0))
    time_s: int = field(validator=gt(0))

    def __attrs_post_init__(self) -> None:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(
                f"gpus must be a share below 1, or a whole number; found {self.gpus:g}"
            )
        if self.nodes > 1 and 0 < self.gpus < 1:
            raise ValueError(f"a run over {self.nodes} nodes needs whole GPUs; found {self.gpus:g}")


@frozen(kw_only=True)
class NodeShape:
    """What jobs may use of one node."""

    gpus: int = field(validator=ge(0))
    cpus: int = field(validator=ge(1))
    memory_gb: float = field(validator=gt(0))
    """Infinite: not known."""

    def covers(self, asked: NodeShape) -> bool:
        """Return whether a node has at least this much of everything."""
        return (
            self.gpus >= asked.gpus
            and self.cpus >= asked.cpus
            and self.memory_gb >= asked.memory_gb
        )

    def within(self, most: JobLimits, *, num_nodes: int = 1) -> NodeShape:
        """Return what each node of a job has that is within its limits."""

        def part(present: float, limit: float | None) -> float:
            return present if limit is None else min(present, limit / num_nodes)

        cpus = max(1, int(part(self.cpus, most.cpus)))
        memory_gb = part(self.memory_gb, most.memory_gb)
        if most.memory_gb_per_cpu is not None:
            memory_gb = min(memory_gb, cpus * most.memory_gb_per_cpu)
        return NodeShape(
            gpus=int(part(self.gpus, most.gpus)), cpus=cpus, memory_gb=max(memory_gb, 1 / GB)
        )


@frozen(kw_only=True)
class JobLimits:
    """The most that a job may ask for on all of its nodes together; None: no limit."""

    gpus: int | None = None
    cpus: int | None = None
    memory_gb: float | None = None
    nodes: int | None = None
    memory_gb_per_cpu: float | None = None
    """A job that asks for more memory asks for more CPUs."""
    all_jobs: Mapping[str, float] = field(factory=dict)
    """The most of gpus, cpus, memory_gb and nodes for all such jobs that run at once."""
    least: Mapping[str, float] = field(factory=dict)
    """The least gpus, cpus and memory_gb of a job: one that needs less asks for so much."""
    sources: Mapping[str, str] = field(factory=dict)
    """Who sets each limit, by its name here."""

    @property
    def depend_on_nodes(self) -> bool:
        """Whether a job of more nodes may have less of each."""
        return (self.gpus, self.cpus, self.memory_gb) != (None, None, None)


@frozen(kw_only=True)
class PackLimits:
    """The limits of a job."""

    shape: NodeShape
    time_limit_s: int | None = field(default=None, validator=optional(gt(0)))
    """The longest job; a longer run gets a job of this length, which is requeued."""
    nodes_per_pack: int = field(default=1, validator=ge(1))
    """Nodes of a job, if there are enough runs; a run over more nodes makes a larger job."""
    max_nodes: int | None = field(default=None, validator=optional(ge(1)))
    """The most nodes of one job."""
    job: JobLimits = field(factory=JobLimits)
    runs_per_pack: int | None = field(default=None, validator=optional(ge(1)))
    """Runs of a job, sequential where they do not fit side by side; None: as many as fit."""
    max_packs: int | None = field(default=None, validator=optional(ge(1)))
    """The most jobs; jobs that would be more are merged, and run sequentially in one job."""
    max_packs_later: int | None = field(default=None, validator=optional(ge(1)))
    """The most once all earlier jobs have ended: if that is much better, the runs have to wait."""

    def for_width(self, num_nodes: int) -> PackLimits:
        """Return the limits of jobs with runs over this many nodes."""
        shape = self.shape.within(self.job, num_nodes=num_nodes)
        nodes = [
            int(limit // present)
            for limit, present in (
                (self.job.gpus, shape.gpus),
                (self.job.cpus, shape.cpus),
                (self.job.memory_gb, shape.memory_gb),
            )
            if limit is not None and present
        ]
        return evolve(
            self, shape=shape, nodes_per_pack=max(num_nodes, min([self.nodes_per_pack, *nodes]))
        )


@frozen
class Size:
    """The demand of a run on each of its nodes, or what a node has, in exact units."""

    nodes: int
    whole: int
    """GPUs that are the run's alone."""
    share: int
    """Of one further GPU, in units of 1 / `GPU`."""
    cpus: int
    memory: int

    @property
    def gpu_units(self) -> int:
        return self.whole * GPU + self.share

    def fractions(self, node: Size) -> tuple[float, float, float]:
        """Return GPUs, CPUs and memory as fractions of what the node has."""
        return (
            self.gpu_units / (node.whole * GPU) if node.whole else 0.0,
            self.cpus / node.cpus,
            self.memory / node.memory,
        )


def gpu_units(gpus: float) -> int:
    """Return a share of a GPU in units, rounded up if it is finer."""
    return ceil(Fraction(repr(gpus)) * GPU)


def size_of(demand: Demand) -> Size:
    """Return what a run takes on each of its nodes, rounded up to units."""
    whole = int(demand.gpus)
    share = 0 if whole else gpu_units(demand.gpus)
    memory = ceil(Fraction(repr(demand.memory_gb)) * GB)
    return Size(demand.nodes, whole, share, demand.cpus, memory)


def size_of_node(shape: NodeShape) -> Size:
    """Return what a node has, rounded down to units."""
    known = not isinf(shape.memory_gb)
    memory = floor(Fraction(repr(shape.memory_gb)) * GB) if known else _UNTRACKED
    return Size(1, shape.gpus, 0, shape.cpus, memory)
