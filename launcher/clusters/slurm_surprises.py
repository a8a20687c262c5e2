"""What users may not expect: nodes that are all down, a maintenance, jobs that are suspended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launcher.clusters.slurm_limits import WORDS
from launcher.clusters.slurm_nodes import ChosenNodes
from launcher.packing.demand import JobLimits
from launcher.slurm.site import SlurmPartition, SlurmQos, SlurmSite


def surprises(
    chosen: ChosenNodes,
    queues: Sequence[SlurmPartition],
    qos: SlurmQos | None,
    job: JobLimits,
    site: SlurmSite,
) -> Iterator[str]:
    """Yield a sentence for each thing that the user may not expect.

    Args:
        queues: The partitions that jobs are submitted to.
        qos: Of the jobs.
        job: The limits of each.
    """
    if chosen.num_nodes and not chosen.num_usable:
        nodes = "the node that fits takes" if chosen.num_nodes == 1 else "the nodes that fit take"
        yield f"{nodes} no jobs now (down, drained or reserved): jobs wait; see `sinfo -R`"
    for name, few in job.least.items():
        yield f"jobs ask for at least {few:g} {WORDS[name]}: their QOS takes no smaller ones"
    for each in site.maintenances:
        yield (
            f"maintenance {each.name} of {each.num_nodes} nodes begins at {each.start}: jobs that "
            "may run into it wait until it is over; with a shorter --time they may start before"
        )
    modes = {f"partition {each.name}": each.preempt_mode for each in queues}
    if site.preempt_by == "qos" and qos is not None:
        modes = {f"QOS {qos.name}": qos.preempt_mode}
    for who, mode in modes.items():
        if site.suspends and any(word in mode.upper() for word in ("SUSPEND", "GANG")):
            yield (
                f"jobs in {who} are suspended to make room for others (PreemptMode={mode}): they "
                "stand still with their memory on the node, are not asked for a checkpoint, and go "
                "on when they are resumed"
            )
