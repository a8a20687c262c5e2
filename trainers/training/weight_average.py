"""Exponential moving average (EMA) of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AveragedWeights:
    """Exponential moving averages of parameters and buffers, in float32 whatever their type is.

    Buffers of integers are copied instead. The first update replaces the initial weights.

    Args:
        decay: The share of the averages that an update keeps; None turns averaging off.
    """

    def __init__(self, model: torch.nn.Module, decay: float | None) -> None:
        self._blend = get_ema_multi_avg_fn(decay or 0.0)  # type: ignore[no-untyped-call]
        self._averages = (
            {}
            if decay is None
            else {
                name: tensor.to(_average_dtype(tensor), copy=True)
                for name, tensor in _tensors(model).items()
            }
        )

    def to(self, device: torch.device) -> None:
        self._averages = {name: each.to(device) for name, each in self._averages.items()}

    @torch.no_grad()
    def update(self, model: torch.nn.Module, *, is_first: bool) -> None:
        """Blend the present weights into the averages."""
        if not self._averages:
            return
        tensors = _tensors(model)
        blended = (
            []
            if is_first
            else [name for name, each in self._averages.items() if each.is_floating_point()]
        )
        for name in self._averages.keys() - set(blended):
            self._averages[name].copy_(tensors[name])
        if blended:
            self._blend(
                [self._averages[name] for name in blended],
                [tensors[name].float() for name in blended],
                None,
            )

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the averages under the keys of the network's state dict; empty if off."""
        return dict(self._averages)

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        for name, average in self._averages.items():
            average.copy_(state[name])


def _tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    state: dict[str, Any] = model.state_dict()
    return {name: each for name, each in state.items() if isinstance(each, torch.Tensor)}


def _average_dtype(tensor: torch.Tensor) -> torch.dtype:
    return torch.float32 if tensor.is_floating_point() else tensor.dtype
