"""Where the time of a run's iterations goes: `python -m trainers.profile CONFIG [--iterations N]`.

CONFIG is the config of a run, as YAML. The run starts at iteration 0 in a temporary folder. Prints
the result as JSON, on the last line. `launch profile` runs this and explains the result.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gunpowder as gp

from trainers.config.config_io import read_run_config
from trainers.config.run_config import RunConfig
from trainers.distributed.process_group import ALONE
from trainers.errors import ConfigError, TrainerError
from trainers.gunpowder_trainer import GunpowderTrainer
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
from trainers.run.failure_class import exit_code_of
from trainers.run.run_folder import RunFolder
from trainers.stream.sample_worker import SampleWorker
from trainers.training.determinism import set_determinism
from trainers.training.disable_dynamo import disable_dynamo
from trainers.training.incompatible_packages import check_packages
from trainers.training.run_parts import RunParts, build_parts
from trainers.training.training_run import num_threads
from trainers.training_iteration_stats import TrainingIterationStats

_WARM_UP = 3
"""Iterations, and samples, that are not counted: they compile kernels and fill caches."""


class NodeTimes:
    """Seconds spent in each gunpowder node by all threads, without those upstream of it."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._nested = threading.local()

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure all requests of the process, inside of the context."""
        # Every request between two nodes passes through this method.
        request_batch = gp.BatchProvider.request_batch

        def timed(node: gp.BatchProvider, request: gp.BatchRequest) -> Any:
            outer = getattr(self._nested, "seconds", 0.0)
            self._nested.seconds = 0.0
            start = time.perf_counter()
            try:
                return request_batch(node, request)
            finally:
                elapsed = time.perf_counter() - start
                with self._lock:
                    self.seconds[node.name()] += elapsed - self._nested.seconds
                self._nested.seconds = outer + elapsed

        gp.BatchProvider.request_batch = timed
        try:
            yield
        finally:
            gp.BatchProvider.request_batch = request_batch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--iterations", type=int, default=20)
    options = parser.parse_args()
    try:
        found = profile(read_run_config(options.config), options.iterations)
    except TrainerError as error:
        sys.stderr.write(f"{error}\n")
        return exit_code_of(error)
    sys.stdout.write(f"{json.dumps(found)}\n")
    return 0


def profile(config: RunConfig, num_iterations: int) -> dict[str, Any]:
    """Return the seconds of the parts of an iteration and of a sample, with the settings behind.

    Raises:
        TrainerError: The run cannot be trained.
    """
    if not isinstance(config.trainer, GunpowderTrainerConfig):
        raise ConfigError("only trainers of the kind gunpowder have a data stream to profile")
    with _built_parts(config) as parts:
        stats = _train(parts, num_iterations)
        nodes, sample_s = _make_samples(parts.trainer, num_iterations)
    return {
        "device": str(parts.device),
        "cores": len(os.sched_getaffinity(0)),
        "num_workers": config.trainer.num_data_workers(1),
        "batch_size": config.trainer.batch_size,
        "step_s": statistics.median(each.time for each in stats),
        "data_wait_s": statistics.mean(each.data_wait for each in stats),
        "iteration_s": statistics.mean(each.time + each.data_wait for each in stats),
        "data_hit_rate": _mean([each.data_hit_rate for each in stats]),
        "data_queue_depth": _mean([each.data_queue_depth for each in stats]),
        "sample_s": sample_s,
        "nodes_s": nodes,
    }


@contextmanager
def _built_parts(config: RunConfig) -> Iterator[RunParts]:
    check_packages()
    set_determinism(config.deterministic, num_threads(config, ALONE))
    disable_dynamo()
    assert isinstance(config.trainer, GunpowderTrainerConfig)
    with (
        config.trainer.worker_pool(1) as workers,
        tempfile.TemporaryDirectory(prefix="launch-profile-") as folder,
    ):
        run = RunFolder(Path(folder))
        yield build_parts(config, run, ALONE, workers, is_restored=False)


def _train(parts: RunParts, num_iterations: int) -> list[TrainingIterationStats]:
    stats = []
    with parts.trainer as trainer:
        for each in trainer.iterate(
            _WARM_UP + num_iterations, parts.model, parts.optimizer, parts.device
        ):
            stats.append(each)
            _show_progress(f"iteration {len(stats)} of {_WARM_UP + num_iterations}")
    return stats[_WARM_UP:]


def _make_samples(trainer: Any, num_samples: int) -> tuple[dict[str, float], float]:
    """Return the seconds of each node per sample, and of the whole sample, in one thread."""
    assert isinstance(trainer, GunpowderTrainer)
    times = NodeTimes()
    with SampleWorker(trainer.stream_spec) as worker:
        for number in range(_WARM_UP):
            worker.sample(number, 0)
        start = time.perf_counter()
        with times.measuring():
            for number in range(_WARM_UP, _WARM_UP + num_samples):
                worker.sample(number, 0)
                _show_progress(f"sample {number + 1 - _WARM_UP} of {num_samples}")
        sample_s = (time.perf_counter() - start) / num_samples
    nodes = {name: seconds / num_samples for name, seconds in times.seconds.items()}
    nodes["targets and the rest"] = max(sample_s - sum(nodes.values()), 0.0)
    return nodes, sample_s


def _mean(values: list[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return statistics.mean(known) if known else None


def _show_progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text:40}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
