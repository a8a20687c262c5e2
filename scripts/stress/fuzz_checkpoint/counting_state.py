"""The state of a make-believe training, in which every value tells the iteration that it is of."""

from __future__ import annotations

import math
from typing import Any

import torch

SHAPES = ((3, 5), (), (0, 4), (7,), (1, 1, 2))
"""Small ones, some of them odd; one large tensor of each type makes up the rest."""
DTYPES = (torch.float32, torch.int64, torch.bfloat16, torch.uint8, torch.float64)


class CountingState:
    """Changes in place, as weights do, so that a save that reads too late or mixes is found out.

    Args:
        num_bytes: About so large; at least some hundred.
    """

    def __init__(self, num_bytes: int) -> None:
        self.iteration = 0
        shapes = [(shape, dtype) for dtype in DTYPES for shape in SHAPES]
        each = num_bytes // len(DTYPES)
        shapes += [((each // dtype.itemsize,), dtype) for dtype in DTYPES if each >= 8]
        self._tensors = [torch.zeros(shape, dtype=dtype) for shape, dtype in shapes]
        self._tensors.append(torch.zeros(6, 4).t())

    def advance(self, iteration: int) -> None:
        self.iteration = iteration
        for index, tensor in enumerate(self._tensors):
            tensor.fill_(_value(iteration, index))

    def state_dict(self) -> dict[str, Any]:
        """The tensors are the state's own."""
        return {
            "iteration": self.iteration,
            "rate": 1 / (1 + self.iteration),
            "model": {f"layer.{index}": tensor for index, tensor in enumerate(self._tensors)},
            "history": [("nan", math.nan), ("count", self.iteration)],
        }


def mistakes(iteration: int, state: Any) -> list[str]:
    """What in a restored state is not of this iteration."""
    found = []
    numbers = (state["iteration"], state["history"][1][1], state["rate"])
    if numbers != (iteration, iteration, 1 / (1 + iteration)):
        found.append(f"the numbers of iteration {iteration} are {numbers}")
    for index, tensor in enumerate(state["model"].values()):
        if not bool((tensor == _value(iteration, index)).all()):
            values = tensor.unique().tolist()[:5]
            found.append(
                f"tensor {index} of iteration {iteration} holds {values}, "
                f"and must be {_value(iteration, index)} throughout"
            )
    return found


def _value(iteration: int, index: int) -> int:
    """Exact in every type, and another one for every tensor, and from one iteration to the next."""
    return (31 * iteration + 7 * index) % 251
