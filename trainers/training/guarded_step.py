"""Optimizer steps under guard: those that are not finite are left out, some are computed twice."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt
import torch

from trainers.training.non_finite import (
    LEFT_OUT,
    MAX_LEFT_OUT_IN_A_ROW,
    NonFinite,
    NonFiniteStepError,
    num_left_out_before,
    suspicious_samples,
)
from trainers.training.step_verification import StepVerification
from trainers.training.training_step import StepResult, TrainingStep

if TYPE_CHECKING:
    from trainers.architectures.model import Model
    from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
    from trainers.stream.sample import Sample
    from trainers.tasks.losses import Loss
    from trainers.trainer import TrainingContext

logger = logging.getLogger(__name__)


class GuardedStep:
    """Takes the steps of a `TrainingStep`, as `non_finite` and `verify_every` of the config say.

    Its state dict adds the iterations that are left out, and how far the run was verified.

    Args:
        model, loss: See `TrainingStep`.
    """

    def __init__(
        self, config: GunpowderTrainerConfig, model: Model, loss: Loss, context: TrainingContext
    ) -> None:
        self._config = config
        self._ranks = context.ranks
        self._step = TrainingStep(config, model, loss, context.ranks, context.seed)
        self._left_out = set(context.left_out)
        self._model: Model
        self._verification: StepVerification | None = None
        self.verified_iteration: int | None = None
        """See `Trainer.verified_iteration`."""

    def begin(self, model: Model, device: torch.device, iteration: int) -> None:
        """Prepare for steps of the network on its device; all ranks call this."""
        self._model = model
        self._step.begin(model, device)
        if self._config.verify_every is not None:
            if self.verified_iteration is None:  # what the attempt starts from is trusted
                self.verified_iteration = iteration
            self._verification = StepVerification(
                self._config.verify_every, self.verified_iteration, self._ranks
            )

    def take(
        self,
        raw: npt.NDArray[Any],
        target: npt.NDArray[np.float32],
        weight: npt.NDArray[np.float32],
        optimizer: torch.optim.Optimizer,
        iteration: int,
        samples: Sequence[Sample],
        *,
        with_first_sample: bool,
    ) -> StepResult:
        """Take the step of an iteration, or leave it out.

        Args:
            raw, target, weight, with_first_sample: See `TrainingStep.take`.
            samples: What raw was collated from.

        Raises:
            NonFiniteStepError: It cannot be taken, nor left out here and now.
            VerificationError: It cannot be trusted.
        """
        if iteration in self._left_out:
            return StepResult(math.nan, non_finite=LEFT_OUT)
        take = partial(
            self._step.take,
            raw,
            target,
            weight,
            optimizer,
            iteration,
            with_first_sample=with_first_sample,
            num_left_out=self.num_left_out(iteration),
        )
        if self._verification is None:
            result = take()
        else:
            result = self._verification.take(iteration, self._model, optimizer, self._step, take)
            self.verified_iteration = self._verification.verified_iteration
        if result.non_finite is None:
            return result
        size = min(self._config.effective_micro_batch_size, len(samples))
        found = _with_samples(result.non_finite, iteration, samples, size)
        self._leave_out(iteration, found)
        return StepResult(result.loss, non_finite=found)

    def _leave_out(self, iteration: int, found: NonFinite) -> None:
        """Leave out the step, if the config says so; all ranks decide alike.

        Raises:
            NonFiniteStepError: It does not, or that would not help.
        """
        error = refusal(iteration, found, self._config.non_finite, self._left_out)
        if error is not None:
            raise error
        logger.warning("%s. Its step is left out", found.description)
        self._left_out.add(iteration)

    def num_left_out(self, iteration: int) -> int:
        """Return how many iterations before this one had no step."""
        return sum(each < iteration for each in self._left_out)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the steps, and what there is to add to it."""
        state = self._step.state_dict()
        if self._left_out:
            state["left_out"] = sorted(self._left_out)
        if self.verified_iteration is not None:
            state["verified_iteration"] = self.verified_iteration
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._step.load_state_dict(state)
        self._left_out |= set(state.get("left_out", ()))
        self.verified_iteration = state.get("verified_iteration")


def refusal(
    iteration: int, found: NonFinite, policy: str, left_out: Collection[int]
) -> NonFiniteStepError | None:
    """Return why the step of an iteration cannot be left out at once; None if it is to be.

    Weights that are not finite were spoiled by the last step that was taken.

    Args:
        policy: `non_finite` of the config.
        left_out: Iterations that are left out so far.
    """
    in_a_row = num_left_out_before(iteration, left_out)
    is_state_finite = found.part != "weights"
    blamed = iteration if is_state_finite else iteration - 1 - in_a_row
    text = found.description
    if in_a_row >= MAX_LEFT_OUT_IN_A_ROW or blamed < 0:
        text += f". Its step is not left out, after {in_a_row} in a row that were"
    elif policy == "skip" and is_state_finite:
        return None
    elif policy == "rewind":
        return NonFiniteStepError(text, blamed, is_state_finite, goes_back=True)
    return NonFiniteStepError(text, max(0, blamed), is_state_finite, goes_back=False)


def _with_samples(
    found: NonFinite, iteration: int, samples: Sequence[Sample], micro_batch_size: int
) -> NonFinite:
    """Return the same, with iteration and samples in its description."""
    text = f"iteration {iteration}: {found.description}"
    if found.part != "weights":
        blamed = suspicious_samples(found, samples, micro_batch_size)
        text += f"; {'; '.join(blamed) or 'the log of another rank names its samples'}"
    return attrs.evolve(found, description=text)
