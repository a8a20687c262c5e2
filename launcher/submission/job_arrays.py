"""Split jobs into arrays, so that as many run at once as may, over all arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from launcher.clusters.slurm_target import SlurmTarget
from launcher.experiment.experiment_folder import PackFolder
from launcher.packing.packing import PlannedPack

PackPlan = tuple[PackFolder, PlannedPack]


@frozen(kw_only=True)
class JobArray:
    """Jobs that ask for the same, submitted by one call of sbatch."""

    packs: tuple[PackPlan, ...]
    at_once: int | None
    """How many of them may run at once; None: all. Jobs that are resubmitted later do not count."""
    after: int | None = None
    """The position of the array that has to end first; None: none."""

    def throttled(self, parameters: Mapping[str, Any], job_ids: Sequence[str]) -> dict[str, Any]:
        """Return the parameters of submitit for this array.

        Args:
            job_ids: A job of each array that was submitted before.
        """
        throttled = dict(parameters)
        if self.at_once is not None:
            throttled["array_parallelism"] = self.at_once
        if self.after is not None:
            array = job_ids[self.after].partition("_")[0]
            further = {**parameters["additional_parameters"], "dependency": f"afterany:{array}"}
            throttled["additional_parameters"] = further
        return throttled


def arrays_of(packs: Sequence[PackPlan], target: SlurmTarget) -> list[JobArray]:
    """Split the packs into arrays: jobs with equal resources, at most `max_array_size` each.

    submitit itself does not split at MaxArraySize. Arrays, as single submissions are slow: on a
    test cluster, 0.03 s for one array of 200 jobs, and 8.8 s for 40 jobs submitted one by one.
    """
    alike: dict[tuple[Any, ...], list[PackPlan]] = {}
    for path, plan in packs:
        asked = (plan.num_nodes, plan.gpus_per_node, plan.cpus_per_node, plan.memory_gb_per_node)
        alike.setdefault((*asked, plan.time_min), []).append((path, plan))
    chunks = [
        tuple(group[start : start + target.max_array_size])
        for group in alike.values()
        for start in range(0, len(group), target.max_array_size)
    ]
    most = target.max_running
    if most is None:
        return [JobArray(packs=chunk, at_once=None) for chunk in chunks]
    shares = running_shares([len(chunk) for chunk in chunks], most)
    return [
        # Arrays beyond the number of jobs that may run at once wait for earlier ones.
        JobArray(packs=chunk, at_once=share, after=number - most if number >= most else None)
        for number, (chunk, share) in enumerate(zip(chunks, shares, strict=True))
    ]


def running_shares(sizes: Sequence[int], most: int) -> list[int]:
    """Divide the number of jobs that may run at once among arrays: at least one each."""
    shares = [1] * len(sizes)
    for _ in range(most - len(sizes)):
        # The next one goes to the array with the most jobs for each that may run.
        shares[max(range(len(sizes)), key=lambda number: sizes[number] / shares[number])] += 1
    return shares
