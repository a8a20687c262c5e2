"""What the optimizers of the Adam family have in common."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, gt, lt, max_len, min_len

from trainers.optimizers.optimizer_config import OptimizerConfig


@frozen(kw_only=True)
class AdaptiveOptimizerConfig(OptimizerConfig):
    """Scales each parameter's step by running means of its gradient and of the square of it."""

    betas: tuple[float, float] = field(
        default=(0.9, 0.999), validator=[min_len(2), max_len(2), deep_iterable(and_(ge(0), lt(1)))]
    )
    """How much of the two running means is kept in an iteration."""
    eps: float = field(default=1e-8, validator=gt(0))
