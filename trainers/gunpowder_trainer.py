"""Train on crops that a seeded gunpowder pipeline cuts out of volumes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import torch

from trainers.datasets.read_options import Reading
from trainers.gp_augments.raw_values import to_unit_range
from trainers.snapshots import SnapshotWriter
from trainers.stream.sample_stream import SampleStream
from trainers.stream.stream_spec import StreamSpec
from trainers.trainer import Trainer
from trainers.training.guarded_step import GuardedStep
from trainers.training_iteration_stats import TrainingIterationStats

if TYPE_CHECKING:
    from trainers.architectures.model import Model
    from trainers.datasets.dataset import Dataset
    from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
    from trainers.stream.sample import Sample
    from trainers.tasks.task import Task
    from trainers.training.training_step import FirstSample

logger = logging.getLogger(__name__)

Batch = tuple[
    npt.NDArray[Any],
    npt.NDArray[Any],
    npt.NDArray[np.float32],
    npt.NDArray[np.float32],
    npt.NDArray[np.uint8],
]


class GunpowderTrainer(Trainer):
    """Learns from `batch_size` samples per iteration; sample = f(seed, iteration, index)."""

    iteration = 0

    def __init__(self, trainer_config: GunpowderTrainerConfig) -> None:
        self.batch_size = trainer_config.batch_size
        self.learning_rate = trainer_config.learning_rate
        self._config = trainer_config
        self._datasets: dict[str, Dataset] = {}
        self._snapshot_container: Path | None = None
        self._resources = ExitStack()
        self._is_closing = threading.Event()
        self._step: GuardedStep | None = None
        self._stream: SampleStream | None = None
        self._snapshots: SnapshotWriter | None = None

    @property
    def stream_spec(self) -> StreamSpec:
        """Everything that the samples depend on; available after `build_batch_provider`."""
        return self._spec

    @property
    def num_data_fetchers(self) -> int:
        """Workers that prefetch samples, on each node; see `GunpowderTrainerConfig`."""
        return self._config.num_data_fetchers

    def create_optimizer(self, model: Model) -> torch.optim.Optimizer:
        return self._config.optimizer.build(model.parameters(), self.learning_rate)

    def can_train(self, datasets: Sequence[Dataset]) -> bool:
        without = [dataset.name for dataset in datasets if dataset.gt is None]
        for name in without:
            logger.error("dataset %r has no ground truth (`gt`); training needs it", name)
        if not datasets:
            logger.error("there is no dataset; training needs at least one")
        return bool(datasets) and not without

    def build_batch_provider(
        self,
        datasets: Sequence[Dataset],
        model: Model,
        task: Task,
        snapshot_container: Path | None = None,
    ) -> None:
        self._datasets = {dataset.name: dataset for dataset in datasets}
        self._task = task
        self._snapshot_container = snapshot_container
        self._step = GuardedStep(self._config, model, task.loss, self.context)
        reading = self._read_options()
        for dataset in datasets:
            dataset.read_with(reading)
        self._spec = StreamSpec(
            datasets=tuple(datasets),
            input_shape=tuple(model.input_shape),
            output_shape=tuple(model.output_shape),
            predictor=task.predictor,
            augments=tuple(self._config.augments),
            min_masked=self._config.min_masked,
            clip_raw=self._config.clip_raw,
            seed=self.context.seed,
            batch_size=self.batch_size,
        )

    def __enter__(self) -> Self:
        self._is_closing.clear()
        if self._config.snapshot_interval and self._snapshot_container:
            self._snapshots = self._resources.enter_context(
                closing(SnapshotWriter(self._snapshot_container, fence=self.context.fence))
            )
        self._stream = self._resources.enter_context(
            SampleStream(
                self._spec,
                self._config.num_data_workers(self.context.ranks.local_size),
                self.iteration,
                self.context.ranks.local_slice(self.batch_size),
                self.context.workers,
                self.context.should_stop,
            )
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closing.set()
        self._stream = self._snapshots = None
        self._resources.close()

    def next(self) -> Batch:
        """Return this rank's part of the next batch: raw, gt, target, weight, mask.

        raw: float32 in 0..1, [B, C, z, y, x] of the model's input shape. Of its output shape: gt as
        stored [B, z, y, x], target and weight float32 [B, K, z, y, x], mask uint8 [B, z, y, x].
        """
        raw, gt, target, weight, mask = self._collate(self._next_samples())
        return to_unit_range(raw), gt, target, weight, mask

    def iterate(
        self,
        num_iterations: int,
        model: Model,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
    ) -> Iterator[TrainingIterationStats]:
        assert self._step is not None, "build_batch_provider comes first"
        model.to(device).train()
        self._step.begin(model, device, self.iteration)
        for _ in range(num_iterations):
            requested = time.perf_counter()
            samples = self.context.ranks.all_or_none(self._next_samples)
            batch = self._collate(samples)
            arrived = time.perf_counter()
            learning_rate = self.learning_rate * self._config.optimizer.schedule.factor(
                self.iteration
            )
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            raw, _, target, weight, _ = batch
            result = self._step.take(
                raw,
                target,
                weight,
                optimizer,
                self.iteration,
                samples,
                with_first_sample=self._is_snapshot_due(),
            )
            iteration = self.iteration
            self.iteration += 1
            ended = time.perf_counter()
            prefetch = self._stream.pop_stats() if self._stream else None
            if result.first_sample:
                self._take_snapshot(iteration, samples[0], batch, model, result.first_sample)
            yield TrainingIterationStats(
                iteration=iteration,
                loss=result.loss,
                time=ended - arrived,
                data_wait=arrived - requested,
                data_queue_depth=prefetch.mean_depth if prefetch else None,
                data_hit_rate=prefetch.prefetch_hit_rate if prefetch else None,
                learning_rate=learning_rate,
                skipped_steps=self._step.num_left_out(self.iteration),
                non_finite=result.non_finite.description if result.non_finite else "",
            )

    @property
    def verified_iteration(self) -> int | None:
        return self._step.verified_iteration if self._step else None

    def state_dict(self) -> dict[str, Any]:
        step = self._step.state_dict() if self._step else {}
        return super().state_dict() | step

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self._step:
            self._step.load_state_dict(state)

    def _read_options(self) -> Reading:
        """Return cache size and timeout; processes share the memory, threads one cache."""
        config = self._config
        num_processes = (
            1
            if config.thread_safe
            else max(1, config.num_data_workers(self.context.ranks.local_size))
        )
        # Not of `self`: datasets may outlive this trainer, and would keep its network.
        is_closing, should_stop = self._is_closing, self.context.should_stop
        return Reading(
            cache_bytes=config.reading.cache_bytes(self.context.memory_bytes) // num_processes,
            timeout_s=config.reading.timeout_s,
            should_stop=lambda: is_closing.is_set() or should_stop(),
        )

    def _next_samples(self) -> list[Sample]:
        if self._stream is None:
            raise RuntimeError("the data stream is not running; use the trainer in a `with` block")
        return self._stream.next()

    def _collate(self, samples: Sequence[Sample]) -> Batch:
        gt = np.stack([sample.gt for sample in samples])
        target = np.stack([sample.target for sample in samples])
        target_mask = np.stack([sample.target_mask for sample in samples])
        return (
            _collate_raw(samples),
            gt,
            target,
            self._task.predictor.create_weight(
                gt, target, target_mask, self.context.ranks.all_reduce_sum
            ),
            np.stack([sample.mask for sample in samples]),
        )

    def _is_snapshot_due(self) -> bool:
        interval = self._config.snapshot_interval
        return (
            self._snapshots is not None and interval is not None and self.iteration % interval == 0
        )

    def _take_snapshot(
        self,
        iteration: int,
        sample: Sample,
        batch: Batch,
        model: Model,
        first_sample: FirstSample,
    ) -> None:
        assert self._snapshots is not None
        raw, gt, target, weight, mask = (array[0] for array in batch)
        arrays = {
            "raw": to_unit_range(raw),
            "gt": gt,
            "target": target,
            "weight": weight,
            "mask": mask,
        }
        arrays["prediction"] = model.activation(first_sample.logits.unsqueeze(0))[0].cpu().numpy()
        arrays["gradients"] = first_sample.gradient.cpu().numpy()
        voxel_size = self._datasets[sample.dataset].raw.info.voxel_size_nm
        border = [
            (outer - inner) / 2 * size
            for outer, inner, size in zip(
                model.input_shape, model.output_shape, voxel_size, strict=True
            )
        ]
        self._snapshots.submit(
            iteration,
            arrays,
            voxel_size_nm=voxel_size,
            offsets_nm={"raw": (0.0,) * len(border)}
            | {name: tuple(border) for name in arrays if name != "raw"},
        )


def _collate_raw(samples: Sequence[Sample]) -> npt.NDArray[Any]:
    """Stack raw arrays; as float32 in 0..1 if their data types differ."""
    arrays = [sample.raw for sample in samples]
    if len({array.dtype for array in arrays}) > 1:
        arrays = [to_unit_range(array) for array in arrays]
    return np.stack(arrays)
