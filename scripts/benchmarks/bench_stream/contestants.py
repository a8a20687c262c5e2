"""What is timed, each in a process of its own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import gunpowder as gp
import numpy as np

from scripts.benchmarks.bench_stream import ours
from scripts.benchmarks.bench_stream.floor import decoding, replay
from scripts.benchmarks.bench_stream.stock import (
    LABELS,
    RAW,
    array_sources,
    stock_pipeline,
    stock_request,
)
from scripts.benchmarks.bench_stream.volumes import Volume
from trainers.profile import NodeTimes
from trainers.stream.sample_stream import SampleStream

CACHE_BYTES = 3 * 10**9
_WARM_UP = 4
_WARM_UP_OF_CACHE = 60

Rate = float
"""Crops per second."""


def stock(volume: Volume, num_crops: int, num_workers: int = 0) -> Rate:
    pipeline = stock_pipeline(volume, num_workers)
    with gp.build(pipeline):
        return _rate(lambda: pipeline.request_batch(stock_request(volume)), num_crops)


def stock_precache_2(volume: Volume, num_crops: int) -> Rate:
    return stock(volume, num_crops, 2)


def ours_stream(volume: Volume, num_crops: int, num_workers: int, cache_bytes: int = 0) -> Rate:
    spec = ours.spec(volume, cache_bytes=cache_bytes)
    with SampleStream(spec, num_workers, 0) as stream:
        warm_up = _WARM_UP_OF_CACHE if cache_bytes else _WARM_UP
        return _rate(stream.next, num_crops, warm_up)


def array_source_reads(volume: Volume, num_crops: int) -> Rate:
    pipeline = array_sources(volume)
    regions = _regions(volume)

    def read() -> None:
        request = gp.BatchRequest()
        for key, region in zip((RAW, LABELS), next(regions), strict=True):
            request[key] = gp.ArraySpec(region)
        pipeline.request_batch(request)

    with gp.build(pipeline):
        return _rate(read, num_crops)


def ours_reads(volume: Volume, num_crops: int) -> Rate:
    """Two at a time, as two workers do."""
    dataset = ours.dataset(volume)
    voxel_size = dataset.raw.voxel_size
    regions = list(itertools.islice(_regions(volume), num_crops + _WARM_UP))

    def read(both: Sequence[gp.Roi]) -> None:
        raw, labels = (region * voxel_size for region in both)
        pending = dataset.raw.begin_read(raw), dataset.ground_truth.begin_read(labels)
        for wait in pending:
            wait()

    for each in regions[:_WARM_UP]:
        read(each)
    with ThreadPoolExecutor(2) as pool:
        begun = time.perf_counter()
        list(pool.map(read, regions[_WARM_UP:]))
        return num_crops / (time.perf_counter() - begun)


def decode_limit_2(volume: Volume, num_crops: int) -> Rate:
    """Two threads that decompress what the crops lie in, and do nothing with it."""
    crops = list(itertools.islice(_regions(volume), num_crops))
    work = [[*decoding(volume, 0, raw), *decoding(volume, 1, labels)] for raw, labels in crops]
    return _rate_of_two_threads(work)


def floor_2(volume: Volume, num_crops: int) -> Rate:
    """Two threads that decompress and run the kernels for crops of ours, and nothing else."""
    return _rate_of_two_threads(replay(volume, num_crops))


def floor_2_cached(volume: Volume, num_crops: int) -> Rate:
    """The same, but nothing has to be decompressed."""
    return _rate_of_two_threads(replay(volume, num_crops, is_cached=True))


CONTESTANTS: dict[str, Callable[[Volume, int], Rate]] = {
    "stock": stock,
    "stock_precache_2": stock_precache_2,
    "ours_1": lambda volume, crops: ours_stream(volume, crops, 1),
    "ours_2": lambda volume, crops: ours_stream(volume, crops, 2),
    "ours_2_cached": lambda volume, crops: ours_stream(volume, crops, 2, CACHE_BYTES),
    "floor_2": floor_2,
    "floor_2_cached": floor_2_cached,
    "array_source_reads": array_source_reads,
    "ours_reads": ours_reads,
    "decode_limit_2": decode_limit_2,
}


def node_times(volume: Volume, num_crops: int) -> dict[str, float]:
    """Milliseconds per crop in each node of the stock pipeline, and of ours with one thread."""
    found: dict[str, float] = {}
    for whose, run in (("stock", stock), ("ours", lambda *_: ours_stream(volume, num_crops, 1))):
        times = NodeTimes()
        with times.measuring():
            run(volume, num_crops)
        count = num_crops + _WARM_UP
        found |= {f"{whose} {name}": 1e3 * s / count for name, s in times.seconds.items()}
    return found


def _rate(make: Callable[[], object], num_crops: int, warm_up: int = _WARM_UP) -> Rate:
    for _ in range(warm_up):
        make()
    begun = time.perf_counter()
    for _ in range(num_crops):
        make()
    return num_crops / (time.perf_counter() - begun)


def _rate_of_two_threads(crops: Sequence[Sequence[Callable[[], object]]]) -> Rate:
    def run(steps: Sequence[Callable[[], object]]) -> None:
        for step in steps:
            step()

    run(crops[0])
    with ThreadPoolExecutor(2) as pool:
        begun = time.perf_counter()
        list(pool.map(run, crops))
        return len(crops) / (time.perf_counter() - begun)


def _regions(volume: Volume) -> Iterator[tuple[gp.Roi, gp.Roi]]:
    """Raw and labels of crops anywhere in the volume, in voxels."""
    rng = np.random.default_rng(1)
    shape = np.array(ours.dataset(volume).raw.info.shape)
    margin = (np.array(volume.input_shape) - volume.output_shape) // 2
    while True:
        begin = rng.integers(0, shape - np.array(volume.input_shape), endpoint=True)
        yield (
            gp.Roi(begin, volume.input_shape),
            gp.Roi(begin + margin, volume.output_shape),
        )
