"""Refuse gunpowder nodes whose output is not a function of the request."""

from __future__ import annotations

import gunpowder as gp
from gunpowder.nodes.generic_predict import GenericPredict
from gunpowder.nodes.generic_train import GenericTrain

from trainers.errors import ConfigError

_IMPURE = {
    gp.PreCache: "it ignores seeds, and its processes outlive the trainer; set num_data_fetchers",
    gp.Reject: "it never ends when the first block of a seed is rejected; set min_masked",
    gp.IterateLocations: "it counts requests; use sample_points",
    gp.Scan: "it splits requests and counts them",
    gp.Snapshot: "it counts requests and writes files; set snapshot_interval",
    gp.ZarrWrite: "it writes files",
    gp.Hdf5Write: "it writes files",
    GenericTrain: "it keeps the state of a training",
    GenericPredict: "it starts a process of its own",
}


def refuse_impure(node: gp.BatchProvider) -> None:
    """Check a node before it becomes part of the stream.

    Raises:
        ConfigError: Two equal requests could get different samples from it.
    """
    reason = next((why for cls, why in _IMPURE.items() if isinstance(node, cls)), None)
    if isinstance(node, gp.SpecifiedLocation) and not node.choose_randomly:
        reason = "it counts requests; pass choose_randomly=True"
    if isinstance(node, gp.DefectAugment) and node.artifact_source is not None:
        reason = "its artifact_source is not seeded; leave that out"
    if reason is not None:
        raise ConfigError(f"{type(node).__name__} cannot be part of the data stream: {reason}")
