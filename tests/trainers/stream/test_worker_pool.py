"""Data workers that wait for something to do."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import attrs
import numpy as np
import pytest

from scripts.workloads.processes import children, num_open_files
from trainers.datasets.dataset import Dataset
from trainers.errors import ConfigError
from trainers.gp_augments import CustomAugmentConfig, NoiseAugmentConfig, SimpleAugmentConfig
from trainers.stream.sample import Sample
from trainers.stream.sample_stream import SampleStream
from trainers.stream.stream_spec import StreamSpec
from trainers.stream.worker_pool import WorkerPool


@pytest.fixture
def spec(make_dataset: Callable[..., Dataset], spec_of: Callable[..., StreamSpec]) -> StreamSpec:
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (24, 24, 24), np.uint8)
    gt = rng.integers(0, 4, (24, 24, 24)).astype(np.uint64)
    in_process = CustomAugmentConfig(import_path="custom_augments:InProcessConfig")
    return spec_of(make_dataset(raw, gt), augments=(NoiseAugmentConfig(), in_process))


def batches(
    spec: StreamSpec, num_workers: int, worker_pool: WorkerPool | None = None
) -> list[bytes]:
    with SampleStream(spec, num_workers, 0, worker_pool=worker_pool) as stream:
        return [_bytes(sample) for _ in range(3) for sample in stream.next()]


def _bytes(sample: Sample) -> bytes:
    arrays = attrs.asdict(sample, recurse=False).values()
    return b"".join(array.tobytes() for array in arrays if isinstance(array, np.ndarray))


@pytest.mark.parametrize("num_waiting", [1, 2, 3])
def test_a_stream_takes_those_that_wait(spec: StreamSpec, num_waiting: int) -> None:
    """It starts what it lacks, leaves what it does not need, and gives the same samples."""
    expected = batches(spec, 0)
    before = children()

    with WorkerPool(num_waiting) as worker_pool:
        waiting = children() - before
        assert len(waiting) == num_waiting
        with SampleStream(spec, 2, 0, worker_pool=worker_pool):
            at_work = children() - before
            assert len(at_work) == max(2, num_waiting)
            assert waiting <= at_work
        assert len(children() - before) == max(0, num_waiting - 2)

    with WorkerPool(num_waiting) as worker_pool:
        assert batches(spec, 2, worker_pool) == expected
    assert children() == before


def test_augments_are_only_prepared_for(spec: StreamSpec) -> None:
    """Those that are announced need not come, nor even be usable; if they come, errors are told."""
    bad = CustomAugmentConfig(import_path="custom_augments:NoSuchConfig")

    with WorkerPool(1, (SimpleAugmentConfig(), bad)) as worker_pool:
        assert batches(spec, 1, worker_pool) == batches(spec, 0)
    with WorkerPool(1, (bad,)) as worker_pool, pytest.raises(ConfigError, match="NoSuchConfig"):
        batches(attrs.evolve(spec, augments=(bad,)), 1, worker_pool)


def test_those_that_wait_leave_signals_to_the_trainer(spec: StreamSpec) -> None:
    """A stop that the whole job is told of before there is anything to do ends no worker."""
    before = children()
    with WorkerPool(1) as worker_pool:
        (worker,) = children() - before
        for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(worker, ignored)

        with SampleStream(spec, 1, 0, worker_pool=worker_pool) as stream:
            stream.next()
            assert children() - before == {worker}


def test_none_is_left_when_the_start_fails() -> None:
    """Whatever is raised before there is a stream: no process and no open file stays."""
    files = num_open_files()
    processes = children()

    with pytest.raises(ZeroDivisionError), WorkerPool(2):
        raise ZeroDivisionError

    assert children() == processes
    assert num_open_files() == files
