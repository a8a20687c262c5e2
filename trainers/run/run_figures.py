"""What a run tells of itself while it trains, so that nobody has to read its metrics for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import field, frozen
from attrs.validators import instance_of, optional

_number = optional(instance_of((int, float)))


@frozen(kw_only=True)
class BestMetric:
    """The metric of the run's best checkpoint, by `checkpoint.keep_best`."""

    metric: str = field(validator=instance_of(str))
    mode: str = field(validator=instance_of(str))
    """`min` or `max`: which values are better."""
    value: float = field(validator=instance_of((int, float)))
    """The mean over the iterations since the checkpoint before."""
    iteration: int = field(validator=instance_of(int))


def as_best(value: BestMetric | Mapping[str, Any] | None) -> BestMetric | None:
    """Return the metric that `state.json` holds; keys of a later version are left out."""
    if value is None or isinstance(value, BestMetric):
        return value
    return BestMetric(**_known(BestMetric, value))


@frozen(kw_only=True)
class RunFigures:
    """The newest figures of a run, in `state.json`; all of them are for people only."""

    loss: float | None = field(default=None, validator=_number)
    """Exponential mean over iterations: see `trainers.training.recent_figures`. A resumed attempt
    goes on with that of the attempt before."""
    iterations_per_s: float | None = field(default=None, validator=_number)
    """Over the last minute of training, pauses for saves among it."""
    best: BestMetric | None = field(default=None, converter=as_best)
    """None without `keep_best`, or before the first checkpoint."""
    node: str = field(default="", validator=instance_of(str))
    """The host of rank 0."""
    num_nodes: int = field(default=1, validator=instance_of(int))
    alive_at: float | None = field(default=None, validator=_number)
    """When the trainer last recorded anything: Unix time in seconds, by the clock of its node."""


def as_figures(value: RunFigures | Mapping[str, Any]) -> RunFigures:
    """Return the figures that `state.json` holds; none if it holds anything else.

    They are for people only: no run is refused for them. Keys of a later version are left out.
    """
    if isinstance(value, RunFigures):
        return value
    try:
        return RunFigures(**_known(RunFigures, value))
    except (TypeError, ValueError):
        return RunFigures()


def _known(cls: type, value: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name for each in attrs.fields(cls)}
    return {key: each for key, each in dict(value).items() if key in names}
