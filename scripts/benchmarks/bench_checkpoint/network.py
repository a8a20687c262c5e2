"""A U-Net and its optimizer, as large as a benchmark wants its checkpoints."""

from __future__ import annotations

import bisect
from time import perf_counter
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from trainers.architectures.unet_config import UNetConfig
from trainers.checkpoints.staging import Staging
from trainers.optimizers.optimizer_configs import AdamConfig

_SHAPE = (16, 16, 16)
_BYTES_PER_WEIGHT = 12
"""The weight itself and two moments of Adam, in single precision."""


class Network:
    """Trained for one step, so that the optimizer has all of its state.

    Args:
        num_bytes: Of a checkpoint, about.
    """

    def __init__(self, num_bytes: float) -> None:
        config = _config(_num_features(num_bytes))
        self.num_features = config.num_features
        self._model = config.build(in_channels=1)
        self._optimizer = AdamConfig().build(self._model.parameters(), 1e-4)
        self._model(torch.rand(1, 1, *_SHAPE)).square().mean().backward()
        self._optimizer.step()
        self._optimizer.zero_grad()

    def state(self) -> dict[str, Any]:
        """What a run saves; the tensors are those that are trained."""
        return {
            "iteration": 1,
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def seconds_to_check(self) -> float:
        """How long the writing thread looks for numbers that are not finite."""
        staging = Staging(self._optimizer)
        staged = staging.stage(self.state())
        staged.wait()
        began = perf_counter()
        assert staged.is_finite()
        seconds = perf_counter() - began
        staging.release()
        return seconds

    def load(self, state: dict[str, Any]) -> None:
        """As a run that is restored: what is kept is a copy."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(
            tree_map_only(torch.Tensor, torch.clone, state["optimizer"])
        )

    def touch(self) -> None:
        """Leave every tensor to the processor's caches as a step of the optimizer does."""
        torch._foreach_mul_([*tensors_of(self.state()).values()], 1)

    @property
    def num_bytes(self) -> int:
        return sum(each.nbytes for each in tensors_of(self.state()).values())


def tensors_of(state: Any, path: str = "") -> dict[str, torch.Tensor]:
    """All tensors in nested dicts, by the keys on the way to them."""
    if isinstance(state, torch.Tensor):
        return {path: state}
    if not isinstance(state, dict):
        return {}
    found: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        found |= tensors_of(value, f"{path}/{key}" if path else str(key))
    return found


def _config(num_features: int) -> UNetConfig:
    return UNetConfig(
        input_shape=_SHAPE,
        num_features=num_features,
        downsample_factors=((2, 2, 2),) * 4,
        padding="same",
        normalization="group",
    )


def _num_features(num_bytes: float) -> int:
    """With which a checkpoint comes nearest to so many bytes."""
    choices = range(1, 1000)
    larger = bisect.bisect(choices, num_bytes, key=_num_bytes)
    return min(
        choices[max(0, larger - 1) : larger + 1],
        key=lambda num_features: abs(_num_bytes(num_features) - num_bytes),
    )


def _num_bytes(num_features: int) -> int:
    with torch.device("meta"):
        model = _config(num_features).build(in_channels=1)
    return _BYTES_PER_WEIGHT * sum(each.numel() for each in model.parameters())
