"""The least that our crops can cost: what is decompressed and what the kernels do, replayed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import gunpowder as gp
from numcodecs import Blosc, blosc

import trainers.gp_augments.contrast
import trainers.gp_augments.spatial_augment
import trainers.tasks.voxel_pairs
from scripts.benchmarks.bench_stream import ours
from scripts.benchmarks.bench_stream.volumes import Volume
from trainers.datasets.array import Array
from trainers.stream.sample_worker import SampleWorker

_KERNELS = (
    (trainers.gp_augments.spatial_augment, "warp"),
    (trainers.gp_augments.contrast, "_scale"),
    (trainers.tasks.voxel_pairs, "mark_pairs"),
)
_MAX_RECORDED = 24
"""Crops, which are then replayed again and again: each takes some 20 MB."""

Step = Callable[[], object]


def replay(volume: Volume, num_crops: int, *, is_cached: bool = False) -> list[list[Step]]:
    """The steps of each of so many crops.

    Args:
        is_cached: Leave out decompression; then what is decompressed is copied instead.
    """
    recorded = [
        _record(volume, number, is_cached) for number in range(min(num_crops, _MAX_RECORDED))
    ]
    return list(itertools.islice(itertools.cycle(recorded), num_crops))


def decoding(volume: Volume, which: int, region: gp.Roi) -> list[Step]:
    """Decompress the chunks of an array of a zarr 2 volume that a region touches, in voxels."""
    folder = volume.path / volume.arrays[which]
    metadata = json.loads((folder / ".zarray").read_text())
    blosc.use_threads = False
    codec = Blosc()
    steps: list[Step] = []
    for chunk in _chunks(region, metadata["chunks"], metadata["shape"]):
        file = folder.joinpath(*map(str, chunk))
        steps.append(partial(codec.decode, file.read_bytes()))
    return steps


def _chunks(
    region: gp.Roi, chunk: Sequence[int], shape: Sequence[int]
) -> Iterator[tuple[int, ...]]:
    ranges = [
        range(max(begin, 0) // step, -(-min(end, length) // step))
        for begin, end, step, length in zip(region.begin, region.end, chunk, shape, strict=True)
    ]
    return itertools.product(*ranges)


def _record(volume: Volume, number: int, is_cached: bool) -> list[Step]:
    spec = ours.spec(volume)
    dataset = spec.datasets[0]
    arrays = (dataset.raw, dataset.gt, dataset.mask)
    steps: list[Step] = []
    begin_read = Array.begin_read

    def read(array: Array, roi: gp.Roi) -> Callable[[], Any]:
        wait = begin_read(array, roi)
        if is_cached:
            steps.append(wait().copy)
        else:
            steps.extend(decoding(volume, arrays.index(array), roi / array.voxel_size))
        return wait

    def recorded(kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            steps.append(partial(kernel, *arguments, **options))
            return kernel(*arguments, **options)

        return call

    with SampleWorker(spec) as maker, patch.object(Array, "begin_read", read):
        patches = [
            patch.object(owner, name, recorded(getattr(owner, name))) for owner, name in _KERNELS
        ]
        for each in patches:
            each.start()
        try:
            maker.sample(number, 0)
        finally:
            for each in patches:
                each.stop()
    return steps
