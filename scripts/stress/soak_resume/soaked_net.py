"""A network in which everything changes that a network can change."""

import os
from pathlib import Path

import torch
from torch import nn


class SoakedNet(nn.Sequential):
    """Draws random numbers and keeps running statistics.

    Args:
        gain: Of the logits; a large one lets gradients overflow in fp16 until their scale is right.
        pulse: A file that grows by a byte with every forward pass of the first rank.
    """

    def __init__(self, in_channels: int, gain: float, pulse: str) -> None:
        super().__init__(
            nn.Conv3d(in_channels, 4, 3, padding=1),
            nn.BatchNorm3d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Conv3d(4, 3, 3, padding=1),
        )
        self.gain = gain
        self.pulse = Path(pulse)

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        if self.training and os.environ["RANK"] == "0":
            with self.pulse.open("ab") as file:
                file.write(b".")
        return self.gain * super().forward(raw)
