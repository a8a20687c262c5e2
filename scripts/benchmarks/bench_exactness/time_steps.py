"""Time optimizer steps as one rank of several: `time_steps.py RUN_FOLDER ITERATIONS`.

Each kind of step has a U-Net of its own. They take turns, and all ranks begin each step together.
The first rank leaves the seconds of each kind in `times.json`; also those of the check for numbers
that are not finite, which is part of each of them, on the gradients of the first kind.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen

from trainers.architectures.model import build_model
from trainers.architectures.unet_config import UNetConfig
from trainers.distributed.open_process_group import open_process_group
from trainers.distributed.process_group import ProcessGroup
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
from trainers.run.run_folder import RunFolder
from trainers.tasks import AffinitiesTaskConfig
from trainers.training.determinism import set_determinism
from trainers.training.step_verification import StepVerification
from trainers.training.training_step import TrainingStep

BATCH_SIZE = 8
NUM_THREADS = 1
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "plain by leaves": {"micro_batch_size": 1},
    "exact": {"exact_across_ranks": True},
    "plain, not deterministic": {},
    "verified": {"verify_every": 1},
}
CHECK = "finiteness"
TASK = AffinitiesTaskConfig(neighborhood=((1, 0, 0), (0, 1, 0), (0, 0, 1)))
NETWORK = UNetConfig(
    input_shape=(44, 44, 44), num_features=12, feature_factor=5, normalization="group"
)


def main() -> None:
    folder, num_iterations = RunFolder(Path(sys.argv[1])), int(sys.argv[2])
    with open_process_group(folder, 0, lambda: False) as group:
        assert group is not None
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        set_determinism(True, NUM_THREADS)
        steps = {kind: _step(settings, group, device) for kind, settings in KINDS.items()}
        times: dict[str, list[float]] = {kind: [] for kind in (*KINDS, CHECK)}
        for iteration in range(num_iterations + 1):
            for kind, step in steps.items():
                set_determinism(kind != "plain, not deterministic", NUM_THREADS)
                group.barrier()
                started = time.perf_counter()
                step(iteration)
                group.barrier()
                times[kind].append(time.perf_counter() - started)
            times[CHECK].append(_seconds_to_check(steps["plain"].model, device))
        if group.is_rank_zero:
            warm = {kind: seconds[1:] for kind, seconds in times.items()}
            (folder.path / "times.json").write_text(json.dumps(warm))


@frozen
class _Step:
    """Takes the step of an iteration, and returns once the device has done it."""

    model: torch.nn.Module
    take: Callable[[int], None]

    def __call__(self, iteration: int) -> None:
        self.take(iteration)


def _seconds_to_check(model: torch.nn.Module, device: torch.device) -> float:
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    started = time.perf_counter()
    torch.nn.utils.get_total_norm(gradients)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _step(settings: dict[str, Any], group: ProcessGroup, device: torch.device) -> _Step:
    config = GunpowderTrainerConfig(
        name="step", batch_size=BATCH_SIZE, learning_rate=1e-3, **settings
    )
    model = build_model(
        NETWORK,
        num_channels=TASK.num_channels,
        activation=TASK.build_activation(),
        in_channels=1,
        seed=0,
    ).to(device)
    optimizer = config.optimizer.build(model.parameters(), config.learning_rate)
    step = TrainingStep(config, model, TASK.build_loss(), group, seed=0)
    step.begin(model, device)
    rng = np.random.default_rng(group.rank)
    part = len(group.local_slice(BATCH_SIZE))
    raw = rng.random((part, 1, *NETWORK.input_shape), np.float32)
    target = rng.integers(0, 2, (part, TASK.num_channels, *NETWORK.output_shape))
    arrays = (raw, target.astype(np.float32), np.ones(target.shape, np.float32))

    verification = StepVerification(config.verify_every or sys.maxsize, 0, group)

    def take(iteration: int) -> None:
        once = partial(step.take, *arrays, optimizer, iteration, with_first_sample=False)
        verification.take(iteration, model, optimizer, step, once)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return _Step(model, take)


if __name__ == "__main__":
    main()
