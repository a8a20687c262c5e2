"""A trainer for tests of everything around training: it needs no data, is quick, and learns."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from trainers.trainer import Trainer
from trainers.training.random_state import generator_of_sample
from trainers.training_iteration_stats import TrainingIterationStats

if TYPE_CHECKING:
    from trainers.architectures.model import Model
    from trainers.datasets.dataset import Dataset
    from trainers.dummy_trainer_config import DummyTrainerConfig
    from trainers.tasks.task import Task


class DummyTrainer(Trainer):
    """Learns to map noise to a constant; the loss falls from the first iterations on."""

    iteration = 0

    def __init__(self, trainer_config: DummyTrainerConfig) -> None:
        self.batch_size = trainer_config.batch_size
        self.learning_rate = trainer_config.learning_rate
        self._mirror_augment = trainer_config.mirror_augment

    def create_optimizer(self, model: Model) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=self.learning_rate)

    def can_train(self, datasets: Sequence[Dataset]) -> bool:
        return True

    def build_batch_provider(
        self,
        datasets: Sequence[Dataset],
        model: Model,
        task: Task,
        snapshot_container: Path | None = None,
    ) -> None:
        return None

    def iterate(
        self,
        num_iterations: int,
        model: Model,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
    ) -> Iterator[TrainingIterationStats]:
        model.to(device).train()
        replica = self.context.ranks.wrap_ddp(model)
        for _ in range(num_iterations):
            started = time.perf_counter()
            raw = self._noise((model.in_channels, *model.input_shape))
            optimizer.zero_grad()
            prediction = replica(raw.to(device))
            loss = torch.nn.functional.mse_loss(prediction, torch.ones_like(prediction))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            self.iteration += 1
            yield TrainingIterationStats(
                iteration=self.iteration - 1,
                loss=self.context.ranks.all_reduce_mean(loss.item()),
                time=time.perf_counter() - started,
                learning_rate=self.learning_rate,
            )

    def _noise(self, shape: tuple[int, ...]) -> torch.Tensor:
        """This rank's part of a batch; sample = f(seed, iteration, index)."""
        samples = [
            torch.randn(
                shape, generator=generator_of_sample(self.context.seed, self.iteration, index)
            )
            for index in self.context.ranks.local_slice(self.batch_size)
        ]
        batch = torch.stack(samples)
        return batch.flip(-1) if self._mirror_augment else batch
