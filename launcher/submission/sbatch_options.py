"""What sbatch is asked for on a node: GPUs, memory, and the options of the cluster config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from launcher.clusters.slurm_cluster_config import PASSED_ON
from launcher.clusters.slurm_target import SlurmTarget
from launcher.packing.packing import PlannedPack


def sbatch_options(plan: PlannedPack, target: SlurmTarget) -> dict[str, Any]:
    """Return the options of sbatch for the GPUs and the memory of a job, and those of the config.

    By their long names. What the launcher itself asks for has precedence over `sbatch` of the
    config.
    """
    told = {name.replace("_", "-"): value for name, value in target.sbatch.items()}
    fields = {name: getattr(target, name) for name in PASSED_ON}
    given = {name: value for name, value in fields.items() if value is not None}
    return {**told, **given, **_gpus(plan, target, told), **_memory(plan, target)}


def _gpus(plan: PlannedPack, target: SlurmTarget, told: Mapping[str, Any]) -> dict[str, Any]:
    if not plan.gpus_per_node:
        return {}
    if target.gpu_request == "none":
        # Whole nodes: another job there would take the same GPUs.
        return {} if {"exclusive", "oversubscribe"} & told.keys() else {"exclusive": True}
    gpus = f"{plan.gpus_per_node}"
    if target.names_gpu_type:
        gpus = f"{target.gpu_type}:{gpus}"
    if target.gpu_request == "gres":
        return {"gres": ",".join(map(str, filter(None, (told.get("gres"), f"gpu:{gpus}"))))}
    return {"gpus-per-node": gpus}


def _memory(plan: PlannedPack, target: SlurmTarget) -> dict[str, str]:
    megabytes = plan.memory_gb_per_node * 1024
    if target.memory == "per-cpu":
        return {"mem-per-cpu": f"{math.ceil(megabytes / plan.cpus_per_node)}M"}
    if target.memory == "per-gpu" and plan.gpus_per_node:
        return {"mem-per-gpu": f"{math.ceil(megabytes / plan.gpus_per_node)}M"}
    return {} if target.memory == "none" else {"mem": f"{math.ceil(megabytes)}M"}
