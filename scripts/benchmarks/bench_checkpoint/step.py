"""What a save in the background slows down."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch
from attrs import frozen
from torch import nn


@frozen
class Steps:
    number: int
    seconds: float

    @property
    def each_s(self) -> float:
        return self.seconds / self.number


class TrainingStep:
    """Forward and backward pass of a small network, a few milliseconds long; always the same."""

    def __init__(self) -> None:
        self._model = nn.Sequential(
            nn.Conv3d(1, 8, 3), nn.ReLU(), nn.Conv3d(8, 8, 3), nn.ReLU(), nn.Conv3d(8, 1, 3)
        )
        self._raw = torch.rand(1, 1, 24, 24, 24)

    def repeat(self, is_over: Callable[[], bool]) -> Steps:
        """One step after the other, at least one, until it is over."""
        began, number = perf_counter(), 0
        while True:
            self._model.zero_grad()
            self._model(self._raw).square().mean().backward()
            number += 1
            if is_over():
                return Steps(number, perf_counter() - began)

    def repeat_for(self, seconds: float) -> Steps:
        end = perf_counter() + seconds
        return self.repeat(lambda: perf_counter() >= end)
