"""What limits a job besides its nodes: partition, QOS and accounts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from launcher.packing.demand import JobLimits, NodeShape
from launcher.slurm.jobs import JobDetails, QueuedJob
from launcher.slurm.site import (
    SlurmAccount,
    SlurmAssociation,
    SlurmPartition,
    SlurmQos,
    SlurmSite,
)
from launcher.slurm.tres import Tres

Bound = tuple[float | None, str]
"""The most that is allowed, None for no limit, and who sets that."""

_OF_ALL_JOBS = ("MaxTRESPerUser", "MaxTRESPerAccount", "GrpTRES")
_OF_JOB = ("MaxTRESPerJob", *_OF_ALL_JOBS)
"""Slurm's limits that a job alone cannot exceed: it would wait forever."""
WORDS = {"gpus": "GPUs", "cpus": "cores", "memory_gb": "GB of memory", "nodes": "nodes"}
"""What is limited, by its name in `Tres` and `JobLimits`, in plain words."""


@frozen(kw_only=True)
class SubmitLimit:
    """How many of a user's jobs may be in the queue at once."""

    most: int
    source: str
    partition: str | None = None
    """Only jobs in this partition count; None: in all."""
    qos: str | None = None
    account: str | None = None

    @property
    def where(self) -> str:
        """Which jobs count, in words that follow `jobs are in the queue`; empty if all do."""
        words = {"in partition": self.partition, "of QOS": self.qos, "of account": self.account}
        return "".join(f" {word} {name}" for word, name in words.items() if name)

    def counts(self, job: QueuedJob) -> bool:
        """Return whether a job in the queue is one of them; one of which too little is known is."""
        return (
            (self.partition is None or self.partition in job.partition.split(","))
            and (self.qos is None or job.qos in (None, self.qos))
            and (self.account is None or job.account in (None, self.account))
        )


@frozen(kw_only=True)
class Limits:
    """The limits of a job in one partition."""

    partition: SlurmPartition
    queue_qos: SlurmQos | None
    """The partition's QOS."""
    qos: SlurmQos | None
    """The job's QOS."""
    association: SlurmAssociation | None
    accounts: tuple[SlurmAccount, ...] = ()
    """The job's account, and those above it."""
    gpu_type: str | None = None
    """The one that jobs ask for."""

    @classmethod
    def of(
        cls,
        site: SlurmSite,
        partition: SlurmPartition,
        account: str | None,
        qos: str | None,
        gpu_type: str | None = None,
    ) -> Limits:
        """Return the limits of the user's jobs.

        Args:
            account: None is the user's default account.
            qos: None is the account's default QOS.
            gpu_type: The type that jobs ask for; None: any, and limits on types do not count.
        """
        association = site.association(account=account, partition=partition.name)
        name = (account or site.default_account or "").lower()
        own = [each for each in site.accounts if each.name == name]
        return cls(
            partition=partition,
            queue_qos=site.qos(partition.qos),
            qos=site.qos(qos or site.qos_without_request(association)),
            association=association,
            accounts=(*own, *site.accounts_above(name)),
            gpu_type=gpu_type,
        )

    def time_s(self) -> Bound:
        """Return the longest job."""
        own = (self.partition.max_time_s, f"partition {self.partition.name}")
        others = self._first("max_time_s")
        return others if self._lifts("PartitionTimeLimit") else least(own, others)

    def nodes(self) -> Bound:
        """Return the most nodes of a job."""
        own = (self.partition.max_nodes, f"partition {self.partition.name}")
        limits = self._of_job("nodes")
        return least(*limits) if self._lifts("PartitionMaxNodes") else least(own, *limits)

    def of_job(self) -> JobLimits:
        """Return what a job may ask for on all of its nodes together."""
        bounds = {name: least(*self._of_job(name)) for name in WORDS}
        own = f"partition {self.partition.name} (MaxMemPerCPU)"
        bounds["memory_gb_per_cpu"] = (self.partition.memory_gb_per_cpu, own)
        all_jobs = {
            name: least(*(self._first_tres(scope, name) for scope in _OF_ALL_JOBS))[0]
            for name in WORDS
        }
        least_of_job = {name: self._first_tres("MinTRESPerJob", name)[0] for name in WORDS}
        return _job_limits(bounds, all_jobs, least_of_job)

    def of_node(self) -> JobLimits:
        """Return what a job may ask for on each of its nodes."""
        bounds = {name: self._first_tres("MaxTRESPerNode", name) for name in WORDS}
        return _job_limits({**bounds, "nodes": (None, "")})

    def submit_limit(self) -> SubmitLimit | None:
        """Return how many jobs may be in the queue, and which ones count; None: any number."""
        for name, holder in self._holders():
            if isinstance(holder, SlurmAccount) or holder.max_submit_jobs is None:
                continue
            most = holder.max_submit_jobs
            if holder is self.queue_qos:
                return SubmitLimit(most=most, source=name, partition=self.partition.name)
            if isinstance(holder, SlurmQos):
                return SubmitLimit(most=most, source=name, qos=holder.name)
            return SubmitLimit(
                most=most, source=name, partition=holder.partition, account=holder.account
            )
        return None

    def _holders(self) -> Iterator[tuple[str, SlurmQos | SlurmAssociation | SlurmAccount]]:
        """Yield what has limits, in the order in which Slurm looks: the first that has one decides.

        See `Resource Limits` in Slurm's documentation.
        """
        qoses = [self.queue_qos, self.qos]
        if self._lifts("OverPartQOS"):
            qoses.reverse()
        for qos in filter(None, qoses):
            yield f"QOS {qos.name}", qos
        if self.association is not None:
            yield f"account {self.association.account}", self.association
        for account in self.accounts:
            yield f"account {account.name}", account

    def _lifts(self, flag: str) -> bool:
        return any(flag in qos.flags for qos in (self.queue_qos, self.qos) if qos is not None)

    def _first(self, name: str) -> Bound:
        for who, holder in self._holders():
            limit: float | None = getattr(holder, name, None)
            if limit is not None:
                return limit, who
        return None, "no limit"

    def _of_job(self, resource: str) -> list[Bound]:
        return [self._first_tres(name, resource) for name in _OF_JOB]

    def _first_tres(self, name: str, resource: str) -> Bound:
        """Return the limit that decides: the first; of `GrpTRES` of accounts, each one holds."""
        of_accounts: list[Bound] = []
        for who, holder in self._holders():
            tres = holder.tres.get(name, Tres())
            typed = tres.gpus_by_type.get(self.gpu_type or "") if resource == "gpus" else None
            limit, _ = least((getattr(tres, resource), ""), (typed, ""))
            if limit is not None and (name != "GrpTRES" or isinstance(holder, SlurmQos)):
                return limit, f"{who} ({name})"
            of_accounts.append((limit, f"{who} ({name})"))
        return least(*of_accounts)


def exceeded(site: SlurmSite, job: JobDetails) -> list[str]:
    """Return what a job asks for too much of to start ever, and whose limit that is."""
    found: list[str] = []
    for name in job.partition.split(","):
        partition = site.partition(name)
        if partition is None:
            return []
        limits = Limits.of(site, partition, job.account, job.qos)
        of_job = limits.of_job()
        here = [
            f"it asks for {asked:g} {WORDS[resource]}, and {of_job.sources[resource]} gives a job "
            f"at most {most:g}"
            for resource in WORDS
            if resource in of_job.sources
            and (asked := getattr(job.asked, resource)) is not None
            and asked > (most := getattr(of_job, resource))
        ]
        if not here:  # it can start in this partition
            return []
        found += here
    return list(dict.fromkeys(found))


def least(*limits: Bound) -> Bound:
    """Return the tightest limit."""
    known = [(limit, who) for limit, who in limits if limit is not None]
    return min(known, default=(None, "no limit"))


def tightest(limits: Sequence[JobLimits]) -> JobLimits:
    """Return limits within which a job is within all of these."""
    if len(limits) == 1:
        return limits[0]
    return _job_limits(
        {
            name: least(*((getattr(each, name), each.sources.get(name, "")) for each in limits))
            for name in (*WORDS, "memory_gb_per_cpu")
        },
        {name: least(*((each.all_jobs.get(name), "") for each in limits))[0] for name in WORDS},
        {name: max(each.least.get(name, 0) for each in limits) or None for name in WORDS},
    )


def _job_limits(
    bounds: Mapping[str, Bound],
    all_jobs: Mapping[str, float | None] | None = None,
    least_of_job: Mapping[str, float | None] | None = None,
) -> JobLimits:
    limits: dict[str, Any] = {name: limit for name, (limit, _) in bounds.items()}
    return JobLimits(
        **limits,
        all_jobs={name: most for name, most in (all_jobs or {}).items() if most is not None},
        least={name: few for name, few in (least_of_job or {}).items() if few is not None},
        sources={name: who for name, (limit, who) in bounds.items() if limit is not None},
    )


def as_seen(
    site: SlurmSite,
    *,
    account: str | None,
    qos: str | None,
    has_reservation: bool = False,
    whole_nodes: bool = False,
) -> SlurmSite:
    """Return the site as it is for jobs of the user: what they may use of nodes, and which
    partitions are closed to them.

    Args:
        account: None is the user's default account.
        qos: None is the account's default QOS.
        whole_nodes: Leave the limits out of what jobs may use of nodes.
    """

    def seen(partition: SlurmPartition) -> SlurmPartition:
        limits = Limits.of(site, partition, account, qos)
        refusal = site.refusal(partition, account=account, qos=qos, has_reservation=has_reservation)
        most = () if whole_nodes else (limits.of_node(), limits.of_job())
        return attrs.evolve(
            within(partition, *most),
            closed_because=refusal.reason if refusal else None,
            may_be_open=refusal is not None and not refusal.is_certain,
        )

    return attrs.evolve(site, partitions=tuple(map(seen, site.partitions)))


def within(partition: SlurmPartition, *limits: JobLimits) -> SlurmPartition:
    """Return the partition with what a job may use of each node."""
    most = tightest(limits or [JobLimits()])
    groups = [attrs.evolve(each, shape=each.shape.within(most)) for each in partition.groups]
    return attrs.evolve(partition, groups=tuple(groups))


def sources_within(
    shape: NodeShape, sources: Mapping[str, str], *limits: JobLimits
) -> dict[str, str]:
    """Return where the sizes of a node come from, by their names in the config.

    Args:
        sources: Where they come from without the limits: those that one has cut come from that.
    """
    found = dict(sources)
    for most in limits:
        for name, present in attrs.asdict(shape).items():
            is_cut = name in most.sources and present == getattr(most, name)
            if is_cut and sources[f"{name}_per_node"].startswith("Slurm: "):
                found[f"{name}_per_node"] = f"Slurm: {most.sources[name]}"
    return found
