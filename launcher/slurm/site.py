"""What Slurm says about a cluster."""

from __future__ import annotations

from attrs import frozen

from launcher.packing.demand import NodeShape


@frozen(kw_only=True)
class NodeGroup:
    """Nodes of a partition that are alike."""

    shape: NodeShape
    """What a job may have of one such node in this partition."""
    features: frozenset[str]
    """What `--constraint` can ask for."""
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
    """Only for those who know its name."""
    max_time_s: int | None
    """None: no limit, here and below."""
    default_time_s: int | None
    max_nodes: int | None
    grace_s: int
    """Between the signal of a preemption and the kill."""
    preempt_mode: str
    priority_tier: int
    qos: str | None
    """Its own limits, besides those of the job's QOS."""
    groups: tuple[NodeGroup, ...]
    """The largest group first."""


@frozen(kw_only=True)
class SlurmQos:
    """A quality of service: limits that come with a name."""

    name: str
    grace_s: int
    preempts: tuple[str, ...]
    preempt_mode: str
    max_time_s: int | None
    max_jobs: int | None
    """Of one user, running."""
    max_submit_jobs: int | None
    """Of one user, running and waiting."""


@frozen(kw_only=True)
class SlurmAssociation:
    """What a user may do on an account; a partition narrows it down to jobs there."""

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
    """The most tasks of one array."""
    accounting: bool
    """Whether `sacct` knows jobs that have ended."""
    preempt_by: str
    """What makes one job give way to another: `partition_prio`, `qos` or `none`."""
    send_user_signal: bool
    """Whether a preempted job hears the signal of `--signal`, and SIGTERM only after the grace."""
    kill_wait_s: int
    job_requeue: bool
    """Whether jobs may be requeued that do not say so."""
    partitions: tuple[SlurmPartition, ...]
    qoses: tuple[SlurmQos, ...] = ()
    associations: tuple[SlurmAssociation, ...] = ()
    default_account: str | None = None

    @property
    def open_partitions(self) -> list[SlurmPartition]:
        """Those that can be suggested."""
        return [each for each in self.partitions if each.is_up and not each.is_hidden]

    def partition(self, name: str) -> SlurmPartition | None:
        return next((each for each in self.partitions if each.name == name), None)

    def qos(self, name: str | None) -> SlurmQos | None:
        """The QOS of that name; Slurm takes upper case for lower case."""
        return next((each for each in self.qoses if name and each.name == name.lower()), None)

    def association(self, *, account: str | None, partition: str) -> SlurmAssociation | None:
        """The limits of the user's jobs on an account in a partition.

        Args:
            account: None is the user's default account.
        """
        account = (account or self.default_account or "").lower()
        here = [each for each in self.associations if each.account == account]
        fitting = [each for each in here if each.partition in (partition, None)]
        return max(fitting, key=lambda each: each.partition is not None, default=None)

    @property
    def default_qos(self) -> str | None:
        """Of the default account, wherever it does not depend on the partition."""
        association = self.association(account=None, partition="")
        return association.default_qos if association else None

    @property
    def max_submit_jobs(self) -> int | None:
        """Of the user on the default account, running and waiting; None: no limit."""
        association = self.association(account=None, partition="")
        return association.max_submit_jobs if association else None
