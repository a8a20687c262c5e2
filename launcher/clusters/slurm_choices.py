"""Decide single values of a target; what was given first counts, and its place is remembered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from launcher.clusters.slurm_cluster_config import SlurmClusterConfig, check_time
from launcher.clusters.slurm_nodes import best_partition
from launcher.errors import LauncherError, suggestions
from launcher.packing.demand import Demand
from launcher.slurm.parsing import read_seconds
from launcher.slurm.site import SlurmAssociation, SlurmPartition, SlurmQos, SlurmSite
from launcher.tables import show_seconds


class Choices:
    """Takes every value from where it is given first, and remembers where that was."""

    def __init__(self, config: SlurmClusterConfig, config_source: str) -> None:
        self.sources: dict[str, str] = {}
        self._config = config
        self._config_source = config_source

    def __call__(self, name: str, given: Any, otherwise: Any, source: str) -> Any:
        """The value on the command line, that of the config, or the one otherwise."""
        configured = getattr(self._config, name)
        if given is not None:
            self.sources[name] = f"--{name}"
            return given
        if configured not in (None, (), {}):
            self.sources[name] = self._config_source
            return configured
        self.sources[name] = source
        return otherwise

    def complaint(self, name: str, message: str) -> LauncherError:
        """The error about a value that was given."""
        source = self.sources[name]
        where = source if source.startswith("--") else f"{source}: {name}"
        return LauncherError(f"{where}: {message}")


@frozen
class Limits:
    """Who has a say in how much a job may ask for."""

    queue: SlurmPartition
    queue_qos: SlurmQos | None
    qos: SlurmQos | None
    association: SlurmAssociation | None

    def time_s(self) -> tuple[int | None, str]:
        """The longest job, and who says so; None: there is no limit."""
        own = (self.queue.max_time_s, f"partition {self.queue.name}")
        return _least(own, *self._others("max_time_s"))

    def submit_jobs(self) -> tuple[int | None, str]:
        """The most jobs of the user at once, and who says so; None: there is no limit."""
        return _least(*self._others("max_submit_jobs"))

    def _others(self, name: str) -> Iterator[tuple[int | None, str]]:
        for qos in (self.queue_qos, self.qos):
            if qos is not None:
                yield getattr(qos, name), f"QOS {qos.name}"
        if self.association is not None:
            yield getattr(self.association, name), f"account {self.association.account}"


def choose_partition(
    choose: Choices, given: str | None, site: SlurmSite, demands: Sequence[Demand]
) -> SlurmPartition:
    name = choose("partition", given, None, "")
    if name is None:
        queue, choose.sources["partition"] = best_partition(site, demands)
        return queue
    found = site.partition(name)
    if found is None:
        names = [each.name for each in site.partitions]
        raise choose.complaint("partition", f"found {name!r}; {suggestions(name, names)}")
    return found


def choose_account(choose: Choices, given: str | None, site: SlurmSite) -> str | None:
    account: str | None = choose("account", given, None, "Slurm: the user's default account")
    known = list(dict.fromkeys(each.account for each in site.associations))
    if account is not None and known and account.lower() not in known:
        raise choose.complaint("account", f"found {account!r}; {suggestions(account, known)}")
    return account


def choose_qos(
    choose: Choices, given: str | None, site: SlurmSite, association: SlurmAssociation | None
) -> str | None:
    qos: str | None = choose("qos", given, None, "Slurm: the account's default QOS")
    known = list(association.qos if association else ()) or [each.name for each in site.qoses]
    if qos is not None and known and qos.lower() not in known:
        raise choose.complaint("qos", f"found {qos!r}; {suggestions(qos, known)}")
    return qos


def choose_time_limit(
    choose: Choices, given: str | None, limits: Limits, site: SlurmSite
) -> int | None:
    """In seconds; None: a job may take as long as its runs need."""
    most, who = limits.time_s()
    text = choose("time", given, None, f"Slurm: {who}")
    if text is None:
        return most
    try:
        asked = read_seconds(check_time(text))
    except ValueError as error:
        raise choose.complaint("time", str(error)) from error
    if asked is not None and most is not None and asked > most:
        raise choose.complaint(
            "time",
            f"found {text}; must be at most {show_seconds(most)}, the limit of {who}; runs that "
            f"take longer go on in the next job{_longer(asked, limits.queue, site)}",
        )
    return asked


def choose_nodes_per_job(
    choose: Choices, given: int | None, queue: SlurmPartition, max_nodes: int | None
) -> int:
    nodes: int = choose("nodes", given, 1, "default")
    if max_nodes is not None and nodes > max_nodes:
        raise choose.complaint(
            "nodes",
            f"found {nodes}; must be at most {max_nodes}, as many as a job in partition "
            f"{queue.name} can have",
        )
    return nodes


def choose_grace(
    choose: Choices, site: SlurmSite, queue: SlurmPartition, qos: SlurmQos | None
) -> float:
    """Where there is no notice, a job still lives for the moment between SIGTERM and SIGKILL."""
    grace_s, who = 0, ""
    if site.preempt_by == "partition_prio":
        grace_s, who = queue.grace_s, f"GraceTime of partition {queue.name}"
    elif site.preempt_by == "qos" and qos is not None:
        grace_s, who = qos.grace_s, f"GraceTime of QOS {qos.name}"
    if not grace_s:
        grace_s, who = site.kill_wait_s, f"KillWait{f', as there is no {who}' if who else ''}"
    chosen: float = choose("grace_s", None, float(grace_s), f"Slurm: {who}")
    return chosen


def _least(*limits: tuple[int | None, str]) -> tuple[int | None, str]:
    known = [(limit, who) for limit, who in limits if limit is not None]
    limit, who = min(known, default=(None, "no limit"))
    return limit, who


def _longer(time_s: int, queue: SlurmPartition, site: SlurmSite) -> str:
    """Partitions that take such jobs, as advice."""
    others = [each for each in site.open_partitions if each.name != queue.name]
    names = [each.name for each in others if (each.max_time_s or time_s) >= time_s]
    return f". Partitions that take it: {', '.join(names)}" if names else ""
