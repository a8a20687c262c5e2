"""torch's optimizers without its compiler, which takes a second to load at every start of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch


def disable_dynamo() -> None:
    """Let optimizers not load `torch._dynamo` only to tell it that it is to leave them alone.

    Whoever compiles a network still can. Call it before there is an optimizer; where torch has been
    written otherwise, it changes nothing.
    """
    for method in vars(torch.optim.Optimizer).values():
        function = getattr(method, "__wrapped__", None)
        if function is not None:
            function.__dynamo_disable = function  # what torch would ask its compiler for
    for kind in vars(torch.optim).values():
        step: Any = getattr(kind, "step", None)
        if getattr(getattr(step, "__code__", None), "co_name", "") == "_use_grad":
            kind.step = _plain(step.__wrapped__)


def _plain(step: Callable[..., Any]) -> Callable[..., Any]:
    """What torch makes of the step of an optimizer, apart from words to its compiler."""

    @wraps(step)
    def plain_step(self: torch.optim.Optimizer, *arguments: Any, **options: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *arguments, **options)

    return plain_step
