"""Build the gunpowder pipeline of a dataset, from its volumes to augmented blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import gunpowder as gp
from gunpowder.nodes.generic_predict import GenericPredict
from gunpowder.nodes.generic_train import GenericTrain

from trainers.datasets.dataset import Dataset
from trainers.errors import ConfigError
from trainers.gp_augments.augment_config import AugmentConfig
from trainers.gp_augments.raw_augment import RawAugment
from trainers.gp_augments.spatial_augment import SpatialAugment
from trainers.gp_augments.spatial_configs import ElasticAugmentConfig, SimpleAugmentConfig
from trainers.gp_augments.thread_safe_node import ThreadSafeNode
from trainers.stream.volume_source import GT, MASK, RAW, TensorStoreSource, VolumeReader

_STATEFUL = {
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


def build_pipeline(
    dataset: Dataset, augments: Sequence[AugmentConfig], *, clip_raw: bool
) -> gp.Pipeline:
    """Return a pipeline that reads RAW, GT and MASK, and applies the augments in order.

    Raises:
        ConfigError: An augment's node cannot be part of a stream.
        DataError: The dataset has no ground truth.
    """
    nodes = list(_nodes(augments, dataset.units_per_nm))
    raw_as_stored = all(isinstance(node, SpatialAugment | RawAugment) for node in nodes)
    reader = VolumeReader(dataset, clip_raw=clip_raw, raw_as_stored=raw_as_stored)
    pipeline = gp.Pipeline(TensorStoreSource(reader))
    for node in nodes:
        pipeline += node
    return pipeline


def refuse_stateful(node: gp.BatchProvider) -> None:
    """Refuse gunpowder nodes whose output depends on more than the request and its seed.

    With them, a resumed run would see other samples than an uninterrupted one.

    Raises:
        ConfigError: Two equal requests could get different samples from it.
    """
    reason = next((why for cls, why in _STATEFUL.items() if isinstance(node, cls)), None)
    if isinstance(node, gp.SpecifiedLocation) and not node.choose_randomly:
        reason = "it counts requests; pass choose_randomly=True"
    if isinstance(node, gp.DefectAugment) and node.artifact_source is not None:
        reason = "its artifact_source is not seeded; leave that out"
    if reason is not None:
        raise ConfigError(f"{type(node).__name__} cannot be part of the data stream: {reason}")


def _nodes(augments: Sequence[AugmentConfig], units_per_nm: int) -> Iterator[gp.BatchFilter]:
    """Yield the nodes of augments; a simple and an elastic one in a row are one warp."""
    remaining = deque(augments)
    while remaining:
        augment = remaining.popleft()
        following = remaining[0] if remaining else None
        if type(augment) is SimpleAugmentConfig and type(following) is ElasticAugmentConfig:
            remaining.popleft()
            yield SpatialAugment(is_simple=True, elastic=following.scaled(units_per_nm))
        else:
            yield _node(augment, units_per_nm)


def _node(augment: AugmentConfig, units_per_nm: int) -> gp.BatchFilter:
    node = augment.scaled(units_per_nm).node(RAW, GT, MASK)
    if not isinstance(node, gp.BatchFilter):
        raise ConfigError(
            f"{augment!r} makes {node!r}; `node` must return one gunpowder.BatchFilter"
        )
    if augment.thread_safe and not isinstance(node, ThreadSafeNode):
        raise ConfigError(
            f"{augment!r} makes a {type(node).__name__}, which is not a ThreadSafeNode and cannot "
            "run in threads; derive it from trainers.gp_augments.thread_safe_node.ThreadSafeNode, "
            "or leave out `in_threads`"
        )
    refuse_stateful(node)
    return node
