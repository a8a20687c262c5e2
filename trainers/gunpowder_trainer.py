"""Train on crops that a seeded gunpowder pipeline cuts out of volumes."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs
import numpy as np
import numpy.typing as npt
import torch

from trainers.datasets.read_options import Reading
from trainers.gp_augments.raw_values import to_unit_range
from trainers.snapshots import SnapshotWriter
from trainers.stream.sample_stream import SampleStream
from trainers.stream.stream_spec import StreamSpec
from trainers.trainer import Trainer
from trainers.training.non_finite import (
    LEFT_OUT,
    MAX_LEFT_OUT_IN_A_ROW,
    NonFiniteStepError,
    num_left_out_before,
    suspicious_samples,
)
from trainers.training.step_verification import StepVerification
from trainers.training.training_step import StepResult, TrainingStep
from trainers.training_iteration_stats import TrainingIterationStats

if TYPE_CHECKING:
    from trainers.architectures.model import Model
    from trainers.datasets.dataset import Dataset
    from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
    from trainers.stream.sample import Sample
    from trainers.tasks.task import Task
    from trainers.training.non_finite import NonFinite
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
        self._left_out: set[int] = set()
        self._verification: StepVerification | None = None
        self._datasets: dict[str, Dataset] = {}
        self._snapshot_container: Path | None = None
        self._resources = ExitStack()
        self._is_closing = threading.Event()
        self._step: TrainingStep | None = None
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
        self._left_out |= self.context.left_out
        self._step = TrainingStep(
            self._config, model, task.loss, self.context.ranks, self.context.seed
        )
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
        self._step.begin(model, device)
        if self._config.verify_every is not None:
            # Without an earlier verification, what the attempt starts from is trusted.
            trusted = self.iteration if self.verified_iteration is None else self.verified_iteration
            self.verified_iteration = trusted
            self._verification = StepVerification(
                self._config.verify_every, trusted, self.context.ranks
            )
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
            result = self._take_step(batch, samples, model, optimizer)
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
                skipped_steps=self._num_left_out,
                non_finite=result.non_finite.description if result.non_finite else "",
            )

    @property
    def _num_left_out(self) -> int:
        """Iterations so far whose step was left out."""
        return sum(each < self.iteration for each in self._left_out)

    def _take_step(
        self,
        batch: Batch,
        samples: Sequence[Sample],
        model: Model,
        optimizer: torch.optim.Optimizer,
    ) -> StepResult:
        """Take the step of this iteration, or leave it out.

        Raises:
            NonFiniteStepError: It cannot be taken, nor left out here and now.
            VerificationError: It cannot be trusted.
        """
        assert self._step is not None
        if self.iteration in self._left_out:
            return StepResult(math.nan, non_finite=LEFT_OUT)
        raw, _, target, weight, _ = batch
        take = partial(
            self._step.take,
            raw,
            target,
            weight,
            optimizer,
            self.iteration,
            with_first_sample=self._is_snapshot_due(),
            num_left_out=self._num_left_out,
        )
        if self._verification is None:
            result = take()
        else:
            result = self._verification.take(self.iteration, model, optimizer, self._step, take)
            self.verified_iteration = self._verification.verified_iteration
        if result.non_finite is None:
            return result
        return StepResult(result.loss, non_finite=self._leave_out(result.non_finite, samples))

    def _leave_out(self, found: NonFinite, samples: Sequence[Sample]) -> NonFinite:
        """Leave out the step of this iteration, if the config says so; all ranks decide alike.

        Raises:
            NonFiniteStepError: It does not, or that would not help.
        """
        is_state_finite = found.part != "weights"
        blamed = self.iteration if is_state_finite else max(0, self.iteration - 1)
        in_a_row = num_left_out_before(blamed, self._left_out)
        policy = self._config.non_finite
        text = f"iteration {self.iteration}: {found.description}"
        if is_state_finite:
            size = min(self._config.effective_micro_batch_size, len(samples))
            blamed_samples = suspicious_samples(found, samples, size)
            text += f"; {'; '.join(blamed_samples) or 'the log of another rank names its samples'}"
        if in_a_row >= MAX_LEFT_OUT_IN_A_ROW:
            text += f". {in_a_row} iterations before it are left out already"
        elif policy == "skip" and is_state_finite:
            logger.warning("%s. Its step is left out", text)
            self._left_out.add(self.iteration)
            return attrs.evolve(found, description=text)
        elif policy == "rewind":
            raise NonFiniteStepError(text, blamed, is_state_finite, goes_back=True)
        raise NonFiniteStepError(text, blamed, is_state_finite, goes_back=False)

    def state_dict(self) -> dict[str, Any]:
        step = self._step.state_dict() if self._step else {}
        state = super().state_dict() | step
        if self._left_out:
            state["left_out"] = sorted(self._left_out)
        if self.verified_iteration is not None:
            state["verified_iteration"] = self.verified_iteration
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._left_out |= set(state.get("left_out", ()))
        self.verified_iteration = state.get("verified_iteration")
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
        return Reading(
            cache_bytes=config.reading.cache_bytes(self.context.memory_bytes) // num_processes,
            timeout_s=config.reading.timeout_s,
            should_stop=lambda: self._is_closing.is_set() or self.context.should_stop(),
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
