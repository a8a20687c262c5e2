"""Batches from any number of workers, and what becomes of the workers."""

from __future__ import annotations

import os
import pickle
import random
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from scripts.workloads.processes import children, num_open_files
from trainers.datasets.dataset import Dataset
from trainers.errors import ConfigError, DataError, StreamError, UnavailableError
from trainers.gp_augments import (
    CustomAugmentConfig,
    ElasticAugmentConfig,
    GammaAugmentConfig,
    IntensityAugmentConfig,
    NoiseAugmentConfig,
    SimpleAugmentConfig,
)
from trainers.stream.sample import Sample
from trainers.stream.sample_stream import SampleStream
from trainers.stream.stream_spec import StreamSpec
from trainers.stream.worker_pool import WorkerPool, worker_processes

SpecOf = Callable[..., StreamSpec]
EVERY_AUGMENT = (
    SimpleAugmentConfig(),
    ElasticAugmentConfig(
        control_point_spacing=(4, 4, 4),
        control_point_displacement_sigma=(8.0, 8.0, 8.0),
        rotation_interval=(0.0, 1.5),
        subsample=2,
    ),
    CustomAugmentConfig(import_path="custom_augments:NegateConfig"),
    IntensityAugmentConfig(scale=(0.9, 1.1), shift=(-0.1, 0.1)),
    GammaAugmentConfig(gamma_range=(0.5, 2.0)),
    NoiseAugmentConfig(),
)


@pytest.fixture
def spec(make_dataset: Callable[..., Dataset], spec_of: SpecOf) -> StreamSpec:
    """Two datasets, every augment, and a mask that rejects some places."""
    rng = np.random.default_rng(0)
    gt = rng.integers(0, 2**60, (6, 6, 6), np.uint64).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    raw = rng.integers(0, 256, (24, 24, 24), np.uint8)
    return spec_of(
        make_dataset(raw, gt, (gt % 3 > 0).astype(np.uint8), name="cube"),
        make_dataset(raw, gt[5:], gt_offset=(5, 0, 0), voxel_size_nm=(40, 4, 4), name="plates"),
        augments=EVERY_AUGMENT,
        min_masked=0.5,
        batch_size=3,
    )


def without_custom_augments(spec: StreamSpec) -> StreamSpec:
    pure = tuple(each for each in EVERY_AUGMENT if not isinstance(each, CustomAugmentConfig))
    return attrs.evolve(spec, augments=pure)


def with_augment(spec: StreamSpec, name: str) -> StreamSpec:
    augment = CustomAugmentConfig(import_path=f"custom_augments:{name}")
    return attrs.evolve(spec, augments=(augment,))


def contents(samples: list[Sample]) -> list[Any]:
    """Every bit of every array, with its name, type and shape, and where each sample is from."""
    return [
        (name, value.dtype.str, value.shape, value.tobytes())
        if isinstance(value, np.ndarray)
        else (name, value)
        for sample in samples
        for name, value in attrs.asdict(sample, recurse=False).items()
    ]


@pytest.mark.parametrize("workers_are", ["processes", "threads"])
def test_the_samples_are_the_same_for_any_number_of_workers(
    spec: StreamSpec, workers_are: str
) -> None:
    """Byte for byte, from whichever iteration on a stream is started again."""
    if workers_are == "threads":
        spec = without_custom_augments(spec)
    with SampleStream(spec, 0, 0) as stream:
        expected = [contents(stream.next()) for _ in range(6)]

    before = children()
    for num_workers, start_iteration in [(1, 0), (2, 3), (4, 1)]:
        with SampleStream(spec, num_workers, start_iteration) as stream:
            assert (children() == before) == (workers_are == "threads")
            batches = [contents(stream.next()) for _ in range(start_iteration, 6)]
        assert batches == expected[start_iteration:]


def test_threads_and_processes_make_the_same_samples(spec: StreamSpec) -> None:
    """Byte for byte."""
    spec = without_custom_augments(spec)
    with SampleStream(spec, 2, 0) as stream:
        from_threads = [contents(stream.next()) for _ in range(3)]

    with worker_processes(spec, 1, WorkerPool()) as (worker,):
        for iteration, expected in enumerate(from_threads):
            assert contents([worker.sample(iteration, index) for index in range(3)]) == expected


def test_threads_leave_the_random_states_of_the_trainer_alone(spec: StreamSpec) -> None:
    """While samples are made, the trainer may draw from them."""
    states = random.getstate(), numpy_numbers()

    with SampleStream(without_custom_augments(spec), 2, 0) as stream:
        for _ in range(5):
            stream.next()
            assert (random.getstate(), numpy_numbers()) == states


def test_a_thread_that_cannot_start_says_so(
    make_dataset: Callable[..., Dataset], spec_of: SpecOf
) -> None:
    """What is wrong with a dataset is raised by the first `next`."""
    volume = np.ones((24, 24, 24), np.uint8)
    dataset = make_dataset(volume, volume, volume - 1)

    with (
        SampleStream(spec_of(dataset, min_masked=0.5), 2, 0) as stream,
        pytest.raises(DataError, match="the mask covers at most"),
    ):
        stream.next()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_parts_of_a_batch_hold_the_samples_of_the_whole(spec: StreamSpec, num_workers: int) -> None:
    """Whoever makes a sample, and whatever else it makes: the sample is the same."""
    with SampleStream(spec, 0, 0) as stream:
        whole = [stream.next() for _ in range(3)]

    for indices in (range(1), range(1, 3)):
        with SampleStream(spec, num_workers, 0, indices) as stream:
            parts = [contents(stream.next()) for _ in range(3)]
        assert parts == [contents(batch[indices.start : indices.stop]) for batch in whole]


def test_errors_of_a_worker_arrive_with_its_traceback(spec: StreamSpec) -> None:
    """A worker has one thread per library, and has not imported torch."""
    failing = with_augment(spec, "ReportConfig")

    with SampleStream(failing, 1, 0) as stream, pytest.raises(StreamError) as caught:
        stream.next()

    assert "iteration 0, sample 0: no sample could be made\n" in str(caught.value)
    assert "custom_augments.py" in str(caught.value)
    assert "RuntimeError: torch is loaded: False, threads: 1" in str(caught.value)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(
    ("augment", "kind"), [("NoMemoryConfig", MemoryError), ("NoFileConfig", UnavailableError)]
)
def test_errors_of_an_augment_keep_their_class(
    spec: StreamSpec, num_workers: int, augment: str, kind: type[Exception]
) -> None:
    """Too little memory, or a file that is away for now, is no crash."""
    failing = with_augment(spec, augment)

    with (
        SampleStream(failing, num_workers, 0) as stream,
        pytest.raises(kind, match="iteration 0, sample 0: "),
    ):
        stream.next()


def test_errors_of_the_user_keep_their_kind_and_come_in_order(spec: StreamSpec) -> None:
    """Batches before the one that cannot be made are delivered; the next one says why not."""
    failing = attrs.evolve(with_augment(spec, "FailOnBrightConfig"), batch_size=1)

    def batches_before_the_error(num_workers: int) -> tuple[int, str, list[str]]:
        with SampleStream(failing, num_workers, 0) as stream:
            for iteration in range(1000):
                try:
                    stream.next()
                except DataError as error:
                    return iteration, str(error), getattr(error, "__notes__", [])
        raise AssertionError("every sample was dark")

    iteration, message, _ = batches_before_the_error(0)
    in_worker = batches_before_the_error(1)

    assert in_worker[:2] == (iteration, message)
    assert "custom_augments.py" in in_worker[2][0]


def test_a_stream_that_cannot_start_says_so(spec: StreamSpec) -> None:
    """The worker's own refusal is raised, and not just that it ended."""
    refused = with_augment(spec, "PreCacheConfig")

    with SampleStream(refused, 1, 0) as stream, pytest.raises(ConfigError, match="PreCache cannot"):
        stream.next()


def test_workers_leave_signals_to_the_trainer_and_their_death_is_told(spec: StreamSpec) -> None:
    """Signals that a whole job receives do not end a worker; when one is killed, `next` says so."""
    before = children()
    with SampleStream(spec, 1, 0) as stream:
        (worker,) = children() - before
        for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(worker, ignored)
        stream.next()

        os.kill(worker, signal.SIGKILL)
        with pytest.raises(StreamError) as caught:
            for _ in range(10):
                stream.next()

    assert f"worker process {worker} ended with SIGKILL, and did not deliver" in str(caught.value)
    assert "of iteration " in str(caught.value)


def test_nothing_is_left_after_closing(spec: StreamSpec) -> None:
    """No process, no thread and no open file, also if nothing was ever asked for."""
    with SampleStream(spec, 2, 0):
        pass  # the first one imports gunpowder, which keeps a pipe and shared memory
    files = num_open_files()
    processes, threads = children(), threading.active_count()

    with SampleStream(spec, 2, 0):
        assert len(children()) == len(processes) + 2

    assert children() == processes
    assert threading.active_count() == threads
    assert num_open_files() == files


def test_workers_end_when_the_trainer_is_killed(spec: StreamSpec, tmp_path: Path) -> None:
    """SIGKILL gives the trainer no chance to end them; they are gone within 5 s."""
    (tmp_path / "spec").write_bytes(pickle.dumps(spec))
    trainer = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("stream_until_killed.py"), tmp_path / "spec"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert trainer.stdout is not None and trainer.stdout.readline() == b"batch\n"
    workers = [os.pidfd_open(pid) for pid in children(trainer.pid)]
    assert len(workers) == 2

    trainer.kill()

    for worker in workers:
        assert select.select([worker], [], [], 5)[0], "a worker outlived the trainer"
        os.close(worker)
    trainer.communicate()


def test_classes_of_the_main_program_are_refused(spec: StreamSpec) -> None:
    """Workers do not run the user's program again, so they would not find the class."""

    class MyConfig(SimpleAugmentConfig):
        thread_safe = False

    MyConfig.__module__ = "__main__"

    with (
        pytest.raises(ConfigError, match="'MyConfig' is defined in the program's main module"),
        SampleStream(attrs.evolve(spec, augments=(MyConfig(),)), 1, 0),
    ):
        pass


def test_what_cannot_be_pickled_is_refused(spec: StreamSpec) -> None:
    """The error says what to do."""

    class LocalConfig(SimpleAugmentConfig):
        thread_safe = False

    with (
        pytest.raises(ConfigError, match=r"LocalConfig.* or set num_data_fetchers to 0"),
        SampleStream(attrs.evolve(spec, augments=(LocalConfig(),)), 1, 0),
    ):
        pass


@pytest.mark.parametrize(("name", "is_fit"), [("PureConfig", True), ("NegateConfig", False)])
def test_an_augment_of_the_user_runs_in_threads_if_it_is_fit_for_them(
    spec: StreamSpec, name: str, is_fit: bool
) -> None:
    """That is, if its node is a ThreadSafeNode; another one is refused."""
    augment = CustomAugmentConfig(import_path=f"custom_augments:{name}", in_threads=True)
    before = children()

    with SampleStream(attrs.evolve(spec, augments=(augment,)), 2, 0) as stream:
        assert children() == before
        if is_fit:
            stream.next()
        else:
            with pytest.raises(ConfigError, match="makes a _Negate, which is not a ThreadSafeNode"):
                stream.next()


def numpy_numbers() -> list[int]:
    """The state of NumPy's global generator."""
    state: Any = np.random.get_state()
    return list(state[1])
