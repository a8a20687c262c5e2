"""A Slurm cluster: its partitions, nodes, QOS and associations."""

from __future__ import annotations

from attrs import frozen

from launcher.packing.demand import NodeShape


@frozen(kw_only=True)
class NodeGroup:
    """Equal nodes of a partition. Nodes with several types of GPUs are in a group for each type."""

    shape: NodeShape
    """What a job in this partition may use of one such node."""
    gpu_type: str | None = None
    """The type of its GPUs, as for `--gpus-per-node=TYPE:1`; None: Slurm knows none."""
    features: frozenset[str]
    """Node features, as for `--constraint`."""
    num_nodes: int
    num_unusable: int
    """How many of them are down, drained or failing now."""


@frozen(kw_only=True)
class SlurmPartition:
    """A queue."""

    name: str
    is_default: bool
    is_up: bool
    is_hidden: bool
    """Not listed by Slurm, and so never suggested."""
    max_time_s: int | None
    """None: no limit, here and below."""
    default_time_s: int | None
    max_nodes: int | None
    grace_s: int
    """Between the preemption signal and the kill."""
    preempt_mode: str
    priority_tier: int
    qos: str | None
    """Its partition QOS, whose limits hold besides those of the job's QOS."""
    groups: tuple[NodeGroup, ...]
    """The largest group first."""

    @property
    def gpu_types(self) -> tuple[str | None, ...]:
        """The types of its GPUs; None stands for GPUs without a type."""
        with_gpus = (group.gpu_type for group in self.groups if group.shape.gpus)
        return tuple(dict.fromkeys(with_gpus))


@frozen(kw_only=True)
class SlurmQos:
    """A quality of service (QOS): named limits and a priority."""

    name: str
    grace_s: int
    preempts: tuple[str, ...]
    preempt_mode: str
    max_time_s: int | None
    max_jobs: int | None
    """Running jobs per user."""
    max_submit_jobs: int | None
    """Running and pending jobs per user."""


@frozen(kw_only=True)
class SlurmAssociation:
    """The limits of a user on an account; with a partition, of the jobs there."""

    account: str
    partition: str | None
    qos: tuple[str, ...]
    default_qos: str | None
    max_time_s: int | None
    max_jobs: int | None
    max_submit_jobs: int | None


@frozen(kw_only=True)
class SlurmSite:
    """A cluster, as seen by one user."""

    version: str
    cluster_name: str
    max_array_size: int
    """The most tasks of one job array."""
    accounting: bool
    """Whether slurmdbd runs, so that `sacct` knows how jobs have ended."""
    preempt_by: str
    """What decides which job preempts which: `partition_prio`, `qos` or `none`."""
    send_user_signal: bool
    """Whether a preempted job gets the signal of `--signal` first, and SIGTERM after the grace."""
    takes_gpu_options: bool = True
    """Whether jobs may ask for GPUs by `--gpus-per-node`, not by `--gres` alone."""
    kill_wait_s: int
    """Between SIGTERM and SIGKILL."""
    job_requeue: bool
    """Whether jobs may be requeued by default, without `--requeue`."""
    partitions: tuple[SlurmPartition, ...]
    qoses: tuple[SlurmQos, ...] = ()
    associations: tuple[SlurmAssociation, ...] = ()
    default_account: str | None = None
    tracks_memory: bool = True
    """Whether memory is given to jobs; if not, nodes may not say how much they have, and a job that
    asks for memory may be refused."""

    @property
    def open_partitions(self) -> list[SlurmPartition]:
        """The ones that can be suggested: up, and not hidden."""
        return [each for each in self.partitions if each.is_up and not each.is_hidden]

    @property
    def knows_gpus(self) -> bool:
        """Whether Slurm can be asked for GPUs: it lists some, or no nodes at all.

        Otherwise nodes may have GPUs all the same, as at sites that give whole nodes.
        """
        lists_nodes = any(partition.groups for partition in self.partitions)
        return not lists_nodes or any(partition.gpu_types for partition in self.partitions)

    def partition(self, name: str) -> SlurmPartition | None:
        return next((each for each in self.partitions if each.name == name), None)

    def qos(self, name: str | None) -> SlurmQos | None:
        """Return the QOS of a name; Slurm stores names in lower case."""
        return next((each for each in self.qoses if name and each.name == name.lower()), None)

    def association(self, *, account: str | None, partition: str) -> SlurmAssociation | None:
        """Return the limits of the user's jobs on an account in a partition.

        Args:
            account: None is the user's default account.
        """
        account = (account or self.default_account or "").lower()
        here = [each for each in self.associations if each.account == account]
        fitting = [each for each in here if each.partition in (partition, None)]
        return max(fitting, key=lambda each: each.partition is not None, default=None)

    @property
    def default_qos(self) -> str | None:
        """That of the default account, unless it depends on the partition."""
        association = self.association(account=None, partition="")
        return association.default_qos if association else None

    @property
    def max_submit_jobs(self) -> int | None:
        """Running and pending jobs of the user on the default account; None: no limit."""
        association = self.association(account=None, partition="")
        return association.max_submit_jobs if association else None
