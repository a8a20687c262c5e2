"""A network that takes a known time, and notes when it was trained."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch


class SleepingNet(torch.nn.Module):
    """Sleeps, then convolves.

    Args:
        journal: Each step of training adds a line to this file.
    """

    def __init__(self, in_channels: int, seconds: float, journal: str) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv3d(in_channels, 4, 1), torch.nn.Conv3d(4, 1, 1)
        )
        self.seconds = seconds
        self.journal = Path(journal)

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        prediction = self.layers(raw)
        if torch.is_grad_enabled():
            note(self.journal, "iteration")
        return prediction


def note(journal: Path, event: str, **details: float) -> None:
    """Add a line with the time and the process."""
    line = {"time": time.time(), "pid": os.getpid(), "event": event, **details}
    with journal.open("ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")
