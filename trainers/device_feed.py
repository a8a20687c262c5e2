"""Bring batches to the device that trains on them."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch


class DeviceFeed:
    """Copies arrays to a device; to a GPU from pinned memory, while it computes.

    Kernels that are launched later wait for the copy on the GPU, and those before do not.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def bring(self, array: npt.NDArray[Any]) -> torch.Tensor:
        """A copy of a contiguous array, in memory of torch's own, which is always aligned alike."""
        here = torch.from_numpy(array)
        if self._stream is None:
            return here.to(self._device, copy=True)
        with torch.cuda.stream(self._stream):
            there = here.pin_memory().to(self._device, non_blocking=True)
        training = torch.cuda.current_stream(self._device)
        training.wait_stream(self._stream)
        there.record_stream(training)
        return there
