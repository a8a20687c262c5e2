"""Many tensors in one vector."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch


class FlatTensors:
    """Room for tensors of given shapes, in the narrowest type from float32 on that fits all.

    Args:
        like: At least one tensor.
    """

    def __init__(self, like: Sequence[torch.Tensor]) -> None:
        dtype = reduce(torch.promote_types, (each.dtype for each in like), torch.float32)
        sizes = [each.numel() for each in like]
        self.vector = torch.empty(sum(sizes), dtype=dtype, device=like[0].device)
        self.parts = [
            part.view(each.shape)
            for part, each in zip(torch.split(self.vector, sizes), like, strict=True)
        ]

    def set(self, tensors: Sequence[torch.Tensor | None]) -> None:
        """Copy tensors in; where there is none, zeros."""
        for part, tensor in zip(self.parts, tensors, strict=True):
            if tensor is None:
                part.zero_()
            else:
                part.copy_(tensor)
