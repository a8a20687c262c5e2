"""A U-Net of two levels that takes turns with that of another process, and times its turns.

A turn is an iteration: from one forward pass to the next. Token and times are passed through files
that the environment names.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch
from torch import nn


class TimedNet(nn.Module):
    """
    Args:
        num_features: Of the upper level; twice as many below.
    """

    def __init__(self, in_channels: int, num_features: int) -> None:
        super().__init__()
        self.upper = _convolutions(in_channels, num_features)
        self.lower = _convolutions(num_features, 2 * num_features)
        self.last = nn.Conv3d(3 * num_features, 3, 1)
        self._mine, self._other = (
            os.open(os.environ[name], os.O_RDWR) for name in ("BENCH_MINE", "BENCH_OTHER")
        )
        self._turns_left = int(os.environ["BENCH_TURNS"])
        self._began: float | None = None
        self._wall_s: list[float] = []
        """Of each turn."""
        self._cpu_s: list[float] = []
        """Of all threads, when each turn began."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        if self.training and self._turns_left:
            self._take_turns()
        upper = self.upper(raw)
        lower = self.lower(nn.functional.max_pool3d(upper, 2))
        lower = nn.functional.interpolate(lower, scale_factor=2.0)
        prediction: torch.Tensor = self.last(torch.cat([upper, lower], dim=1))
        return prediction

    def _take_turns(self) -> None:
        if self._began is not None:
            self._wall_s.append(time.perf_counter() - self._began)
            self._turns_left -= 1
            os.write(self._other, b"x")
        if self._turns_left:
            os.read(self._mine, 1)
            self._cpu_s.append(time.process_time())
            self._began = time.perf_counter()
        else:
            times = {"wall": self._wall_s, "cpu": self._cpu_s}
            Path(os.environ["BENCH_TIMES"]).write_text(json.dumps(times))


def _convolutions(num_in: int, num_out: int) -> nn.Sequential:
    layers = [nn.Conv3d(num_in, num_out, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv3d(num_out, num_out, 3, padding=1), nn.ReLU())
