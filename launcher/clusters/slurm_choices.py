"""Choose single values of a target: the command line beats the config, which beats Slurm."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from launcher.clusters.slurm_cluster_config import (
    MEMORY_OPTIONS,
    NO_GPUS_ASKED_FOR,
    SlurmClusterConfig,
    check_time,
)
from launcher.clusters.slurm_limits import Limits, SubmitLimit, least
from launcher.clusters.slurm_nodes import best_partition
from launcher.errors import LauncherError, suggestions
from launcher.packing.demand import Demand
from launcher.slurm.parsing import expand_hosts, read_seconds
from launcher.slurm.site import SlurmPartition, SlurmQos, SlurmSite
from launcher.tables import show_seconds


class Choices:
    """Takes each value from the first place that gives it, and records that place in `sources`."""

    def __init__(self, config: SlurmClusterConfig, config_source: str) -> None:
        self.sources: dict[str, str] = {}
        self._config = config
        self.config_source = config_source

    def __call__(self, name: str, given: Any, otherwise: Any, source: str) -> Any:
        """Return the value of the command line, else that of the config, else `otherwise`."""
        configured = getattr(self._config, name)
        if given is not None:
            self.sources[name] = f"--{name.replace('_', '-')}"
            return given
        if configured not in (None, (), {}):
            self.sources[name] = self.config_source
            return configured
        self.sources[name] = source
        return otherwise

    def error(self, name: str, message: str) -> LauncherError:
        """Return an error about a value, with the place that gave it."""
        source = self.sources[name]
        where = source if source.startswith("--") else f"{source}: {name}"
        return LauncherError(f"{where}: {message}")


def choose_partitions(
    choose: Choices,
    given: str | None,
    site: SlurmSite,
    demands: Sequence[Demand],
    gpu_type: str | None,
    rules: Mapping[str, Any],
) -> list[SlurmPartition]:
    """Choose the partition of a job, or several, of which Slurm takes the first that is free.

    Args:
        site: As jobs of the account and the QOS see it.
        rules: What decides who may use a partition, as for `SlurmSite.refusal`.
    """
    text = choose("partition", given, None, "")
    if text is None:
        best, choose.sources["partition"] = best_partition(
            site, demands, gpu_type, remedies=lambda each: _remedies(site, each, rules)
        )
        return [best]
    found = []
    for name in dict.fromkeys(filter(None, map(str.strip, text.split(",")))):
        queue = site.partition(name)
        if queue is None:
            names = [each.name for each in site.partitions]
            raise choose.error("partition", f"found {name!r}; {suggestions(name, names)}")
        found.append(queue)
    return found


def refuse_closed(
    choose: Choices,
    site: SlurmSite,
    partition: SlurmPartition,
    rules: Mapping[str, Any],
) -> str | None:
    """Return a doubt about a partition that was chosen; None if there is none.

    Raises:
        LauncherError: It takes no such jobs of the user, as Slurm says without a doubt.
    """
    refusal = site.refusal(partition, **rules)
    if refusal is None:
        return None if partition.is_up else f"partition {partition.name} starts no jobs now"
    if not refusal.is_certain:
        return f"partition {partition.name} {refusal.reason}: Slurm may refuse these jobs"
    others = [each.name for each in site.open_partitions]
    remedies = _remedies(site, partition, rules)
    advice = f"add {remedies}" if remedies else "choose another one"
    raise choose.error(
        "partition",
        f"found {partition.name!r}, which {refusal.reason}; {advice}; open to you: "
        f"{', '.join(others) or 'none'}",
    )


def _remedies(site: SlurmSite, partition: SlurmPartition, rules: Mapping[str, Any]) -> str:
    """Return the options with which a partition is open; empty if there are none."""
    accounts = dict.fromkeys(each.account for each in site.associations)
    changes = [
        *(("account", each) for each in accounts),
        *(("qos", each) for each in qos_names(site, rules["account"], partition)),
    ]
    opening = [
        f"--{name} {value}"
        for name, value in changes
        if not site.refusal(partition, **{**rules, name: value})
    ]
    return " or ".join(opening)


def choose_account(choose: Choices, given: str | None, site: SlurmSite) -> str | None:
    account: str | None = choose("account", given, None, "Slurm: the user's default account")
    known = list(dict.fromkeys(each.account for each in site.associations))
    if account is not None and known and account.lower() not in known:
        raise choose.error("account", f"found {account!r}; {suggestions(account, known)}")
    if account is None and site.default_account is None and site.enforces_associations and known:
        raise LauncherError(
            "Slurm takes no jobs without an account here, and you have no default one; add "
            f"--account, or set account in the cluster config; {suggestions('', known)}"
        )
    return account


def choose_qos(
    choose: Choices,
    given: str | None,
    site: SlurmSite,
    account: str | None,
    partition: SlurmPartition,
) -> str | None:
    qos: str | None = choose("qos", given, None, "Slurm: the account's default QOS")
    known = qos_names(site, account, partition)
    if qos is not None and known and qos.lower() not in known:
        raise choose.error("qos", f"found {qos!r}; {suggestions(qos, known)}")
    return qos


def qos_names(site: SlurmSite, account: str | None, partition: SlurmPartition) -> list[str]:
    """Return the QOS that jobs of an account may have; all, if Slurm does not say."""
    association = site.association(account=account, partition=partition.name)
    return list(association.qos if association else ()) or [each.name for each in site.qoses]


def choose_time_limit(
    choose: Choices,
    given: str | None,
    limits: Sequence[Limits],
    elsewhere: Sequence[Limits],
) -> int | None:
    """Choose the time limit in seconds; None: a job may take as long as its runs need.

    Args:
        limits: Of each partition that may take the job.
        elsewhere: Of the other partitions, for advice.
    """
    bound, who = least(*(each.time_s() for each in limits))
    most = None if bound is None else int(bound)
    text = choose("time", given, None, f"Slurm: {who}")
    if text is None:
        return most
    try:
        asked = read_seconds(check_time(text))
    except ValueError as error:
        raise choose.error("time", str(error)) from error
    if asked is not None and most is not None and asked > most:
        raise choose.error(
            "time",
            f"found {text}; must be at most {show_seconds(most)}, the limit of {who}; runs that "
            f"take longer are requeued and resume{_longer(asked, elsewhere)}",
        )
    return asked


def choose_submit_limits(
    choose: Choices, queues: Sequence[SlurmPartition], limits: Sequence[Limits]
) -> tuple[SubmitLimit, ...]:
    """Choose how many jobs may be in the queue; where the config says so, of each partition."""
    by_slurm = tuple(dict.fromkeys(filter(None, (each.submit_limit() for each in limits))))
    most, who = least(*((each.most, each.source) for each in by_slurm))
    chosen = choose("max_submit_jobs", None, most, f"Slurm: {who}")
    source = choose.sources["max_submit_jobs"]
    if chosen is None or source.startswith("Slurm: "):
        return by_slurm
    return tuple(SubmitLimit(most=chosen, source=source, partition=each.name) for each in queues)


def choose_nodes_per_job(
    choose: Choices, given: int | None, queue: SlurmPartition, max_nodes: int | None, who: str
) -> int:
    nodes: int = choose("nodes", given, 1, "default")
    if max_nodes is not None and nodes > max_nodes:
        raise choose.error(
            "nodes",
            f"found {nodes}; must be at most {max_nodes}, as many as a job in partition "
            f"{queue.name} can have{f' ({who})' if 'QOS' in who or 'account' in who else ''}",
        )
    return nodes


def choose_nodelist(choose: Choices, nodes: int, demands: Sequence[Demand]) -> str | None:
    """Choose the nodes that every job gets; Slurm gives a job all of them, or refuses it."""
    nodes = max(nodes, min((demand.nodes for demand in demands), default=1))
    nodelist: str | None = choose("nodelist", None, None, "default")
    if nodelist is not None and (count := len(expand_hosts(nodelist))) > nodes:
        raise choose.error(
            "nodelist",
            f"found {nodelist}, {count} nodes, and a job has {nodes}; Slurm gives each job all of "
            f"them: name at most {nodes}, set nodes: {count}, or exclude the others instead",
        )
    return nodelist


def choose_memory(
    choose: Choices, options: Collection[str], site: SlurmSite, gpu_request: str
) -> str:
    """Choose how memory is asked for.

    Args:
        options: Names of further options of sbatch from the config.
    """
    otherwise, source = "per-node", "default"
    if not site.tracks_memory:
        otherwise, source = "none", "Slurm: memory is not given to jobs"
    asked = [name for name in options if name.replace("_", "-") in MEMORY_OPTIONS]
    if asked:
        otherwise, source = "none", f"{choose.config_source}: sbatch.{asked[0]} asks for it"
    memory: str = choose("memory", None, otherwise, source)
    if memory == "per-gpu" and gpu_request == "none":
        raise choose.error("memory", NO_GPUS_ASKED_FOR)
    return memory


def choose_grace(
    choose: Choices, site: SlurmSite, queue: SlurmPartition, qos: SlurmQos | None
) -> float:
    """Choose the grace period; without a GraceTime it is KillWait, from SIGTERM to SIGKILL."""
    grace_s, who = 0, ""
    if site.preempt_by == "partition_prio":
        grace_s, who = queue.grace_s, f"GraceTime of partition {queue.name}"
    elif site.preempt_by == "qos" and qos is not None:
        grace_s, who = qos.grace_s, f"GraceTime of QOS {qos.name}"
    if not grace_s:
        grace_s, who = site.kill_wait_s, f"KillWait{f', as there is no {who}' if who else ''}"
    chosen: float = choose("grace_s", None, float(grace_s), f"Slurm: {who}")
    return chosen


def _longer(time_s: int, elsewhere: Sequence[Limits]) -> str:
    """Return advice: the partitions that take jobs of this time; empty if there are none."""
    names = [each.partition.name for each in elsewhere if (each.time_s()[0] or time_s) >= time_s]
    return f". Partitions that take it: {', '.join(names)}" if names else ""
