"""torch's optimizers without torch._dynamo, which takes seconds to import at every start of a run.

Measured with torch 2.13 on two cores: `import torch` 3.4 s, `import torch._dynamo` 2.6 s on top.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch


def disable_dynamo() -> None:
    """Keep optimizers from importing `torch._dynamo` only to exclude themselves from compilation.

    `torch.compile` of a network still works. Call this before an optimizer is created. It relies on
    private parts of torch, and changes nothing where they are different.
    """
    # Methods wrapped by torch._disable_dynamo import torch._dynamo on their first call, unless the
    # wrapped function has this attribute, in which torch caches what its compiler returned.
    for method in vars(torch.optim.Optimizer).values():
        function = getattr(method, "__wrapped__", None)
        if function is not None:
            function.__dynamo_disable = function
    # `step` of the concrete optimizers is wrapped by `_use_grad_for_differentiable`, which calls
    # torch._dynamo.graph_break() around each step.
    for kind in vars(torch.optim).values():
        step: Any = getattr(kind, "step", None)
        if getattr(getattr(step, "__code__", None), "co_name", "") == "_use_grad":
            kind.step = _without_graph_break(step.__wrapped__)


def _without_graph_break(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return what `_use_grad_for_differentiable` makes of a step, without its graph breaks."""

    @wraps(step)
    def plain_step(self: torch.optim.Optimizer, *arguments: Any, **options: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *arguments, **options)

    return plain_step
