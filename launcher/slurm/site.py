"""A Slurm cluster: its partitions, nodes, QOS and associations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import evolve, field, frozen

from launcher.packing.demand import NodeShape
from launcher.slurm.access import Access, Refusal, SlurmUser
from launcher.slurm.tres import Tres

_HIERARCHICAL_SINCE = (23, 11)
"""From this Slurm on, a partition that an account may use is open to the accounts below it."""


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
    """How many of them are down, drained or failing now, or kept for a reservation."""

    @property
    def num_usable(self) -> int:
        return self.num_nodes - self.num_unusable


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
    access: Access = field(factory=Access)
    closed_because: str | None = None
    """Why it takes no such jobs of the user, once their account and QOS are known."""
    may_be_open: bool = False
    """Whether it may take them all the same, as only Slurm can tell."""
    memory_gb_per_cpu: float | None = None
    """The most memory for each CPU of a job (MaxMemPerCPU)."""

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
    max_submit_jobs: int | None
    """Running and pending jobs per user."""
    flags: frozenset[str] = frozenset()
    """Such as `OverPartQOS`."""
    tres: Mapping[str, Tres] = field(factory=dict)
    """Limits on resources, by Slurm's names for them, such as `MaxTRESPerUser`."""


@frozen(kw_only=True)
class SlurmAccount:
    """An account, with what limits its jobs and those of the accounts below it together."""

    name: str
    parent: str | None
    tres: Mapping[str, Tres] = field(factory=dict)


@frozen(kw_only=True)
class SlurmAssociation:
    """The limits of a user on an account; with a partition, of the jobs there."""

    account: str
    partition: str | None
    qos: tuple[str, ...]
    default_qos: str | None
    max_time_s: int | None
    max_submit_jobs: int | None
    tres: Mapping[str, Tres] = field(factory=dict)


@frozen(kw_only=True)
class Maintenance:
    """A planned maintenance: before it, only jobs start that end in time."""

    name: str
    start: str
    """In local time, such as `2026-12-01T08:00:00`."""
    num_nodes: int


@frozen(kw_only=True)
class Reservation:
    """Nodes that only some jobs may use."""

    name: str
    groups: Mapping[str, tuple[NodeGroup, ...]]
    """Its nodes, by the names of their partitions, as its jobs see them: not as kept for others."""


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
    accounts: tuple[SlurmAccount, ...] = ()
    """Those that are visible to the user."""
    default_account: str | None = None
    enforces_associations: bool = False
    """Whether a job needs an account that its user may use."""
    tracks_memory: bool = True
    """Whether memory is given to jobs; if not, nodes may not say how much they have, and a job that
    asks for memory may be refused."""
    suspends: bool = False
    """Whether Slurm suspends jobs, to give others their nodes (PreemptMode SUSPEND or GANG)."""
    maintenances: tuple[Maintenance, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    """Those that keep their jobs on nodes of their own."""
    user: SlurmUser | None = None
    """None: unknown."""

    @property
    def open_partitions(self) -> list[SlurmPartition]:
        """The ones that can be suggested: up, not hidden, and not closed to the user."""
        return [
            each
            for each in self.partitions
            if each.is_up and not each.is_hidden and not each.closed_because
        ]

    def in_reservation(self, name: str | None) -> SlurmSite:
        """Return the site as jobs in a reservation see it: with its nodes, and their partitions.

        The same site if nothing is known of the nodes of the reservation.
        """
        of_name = (each.groups for each in self.reservations if each.name == name)
        groups = next(of_name, None)
        if not groups:
            return self
        partitions = tuple(
            evolve(each, groups=groups[each.name])
            for each in self.partitions
            if each.name in groups
        )
        return evolve(self, partitions=partitions)

    def refusal(
        self,
        partition: SlurmPartition,
        *,
        account: str | None,
        qos: str | None,
        has_reservation: bool = False,
    ) -> Refusal | None:
        """Return why a partition takes no such job of the user; None if it does.

        Args:
            account: None is the user's default account.
            qos: None is the account's default QOS.
        """
        account = (account or self.default_account or "").lower()
        association = self.association(account=account, partition=partition.name)
        if account and self.enforces_associations and self.associations and association is None:
            return Refusal(f"is not among those that you may use with account {account}")
        qos = qos or self.qos_without_request(association)
        above = [each.name for each in self.accounts_above(account)]
        is_hierarchical = self._version >= _HIERARCHICAL_SINCE
        refusals = partition.access.refusals(
            user=self.user,
            accounts=(account, *(above if is_hierarchical else ())) if account else (),
            qos=qos and qos.lower(),
            has_reservation=has_reservation,
        )
        return next(refusals, None)

    def accounts_above(self, account: str) -> Iterator[SlurmAccount]:
        """Yield the account that is the parent of an account, the parent of that, and so on."""
        by_name = {each.name: each for each in self.accounts}
        below = by_name.pop(account, None)
        while below and below.parent and (above := by_name.pop(below.parent, None)):
            yield above
            below = above

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
    def _version(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.version.split(".")[:2] if part.isdecimal())

    def qos_without_request(self, association: SlurmAssociation | None) -> str | None:
        """Return the QOS of a job that asks for none; None where there are no QOS."""
        if association is not None and association.default_qos:
            return association.default_qos
        if association is not None and len(association.qos) == 1:
            return association.qos[0]
        return "normal" if self.qos("normal") else None
