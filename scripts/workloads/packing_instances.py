"""Runs of unequal size, as they meet in a lab: shares, single GPUs, whole nodes, several nodes."""

from __future__ import annotations

import random

from launcher.packing.packing import Demand, NodeShape, PackLimits

HOUR_S = 3600


def instance(seed: int, max_runs: int = 200) -> tuple[list[Demand], PackLimits]:
    """Runs, and the nodes that they are for; equal seeds give equal ones."""
    draw = random.Random(seed)
    gpus_per_node = draw.choice((4, 8))
    shape = NodeShape(
        gpus=gpus_per_node,
        cpus=gpus_per_node * draw.choice((8, 12, 16, 24)),
        memory_gb=gpus_per_node * draw.choice((32.0, 64.0, 96.5, 128.0)),
    )
    num_runs = draw.randint(min(5, max_runs), max_runs)
    return [_run(draw, f"run-{number}", shape) for number in range(num_runs)], PackLimits(
        shape=shape
    )


def _run(draw: random.Random, name: str, shape: NodeShape) -> Demand:
    gpus = draw.choice((0, 0.1, 0.25, 0.3, 0.5, 1, 1, 1, 1, 2, 2, 4, shape.gpus))
    whole_nodes = gpus == shape.gpus and draw.random() < 0.3
    part = max(gpus, 0.25)
    return Demand(
        name=name,
        nodes=draw.randint(2, 4) if whole_nodes else 1,
        gpus=gpus,
        cpus=max(1, min(shape.cpus, int(part * draw.choice((2, 4, 6, 8, 12, 16))))),
        memory_gb=min(shape.memory_gb, part * draw.choice((8.0, 16.0, 32.0, 50.5, 64.0, 100.0))),
        time_s=draw.choice((1, 2, 4, 12, 24)) * HOUR_S,
    )
