"""When checkpoints are saved, and which are kept."""

from __future__ import annotations

from attrs import Factory, field, frozen
from attrs.validators import ge, gt, optional

from trainers.checkpoints.retention import KeepBest, Retention


@frozen(kw_only=True)
class CheckpointConfig:
    """When a run saves, besides at its end and at a stop, and which checkpoints it keeps."""

    every_minutes: float | None = field(default=None, validator=optional(gt(0)))
    """Save when this much time has passed since the last save."""
    every_iterations: int | None = field(
        default=Factory(lambda self: 1000 if self.every_minutes is None else None, takes_self=True),
        validator=optional(ge(1)),
    )
    """Save at multiples of this number. Default: 1000, or none if `every_minutes` is set."""
    keep_last: int = field(default=2, validator=ge(1))
    """The newest checkpoints that stay."""
    keep_every: int | None = field(default=None, validator=optional(ge(1)))
    """Checkpoints at multiples of so many iterations stay as well."""
    keep_best: KeepBest | None = None
    """The best checkpoint by a metric stays as well."""

    def __attrs_post_init__(self) -> None:
        if self.every_iterations is None and self.every_minutes is None:
            raise ValueError(
                "every_iterations: found null, and no every_minutes; a run without checkpoints "
                "loses everything when its node fails: set one of them, or both"
            )

    @property
    def retention(self) -> Retention:
        return Retention(
            keep_last=self.keep_last, keep_every=self.keep_every, keep_best=self.keep_best
        )
