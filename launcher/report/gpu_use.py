"""The GPU hours that the attempts at a run used, and those that came to nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from trainers.run.attempt_history import Attempt
from trainers.run.run_state import Cause


@frozen(kw_only=True)
class GpuUse:
    """Hours of a run, or of several in sum."""

    hours: float = 0.0
    """From the starts of attempts to their ends, whether they had a GPU or not."""
    gpu_hours: float = 0.0
    lost_hours: float = 0.0
    """Of `hours`, those whose iterations were not saved."""
    lost_gpu_hours: float = 0.0
    is_lower_bound: bool = False
    """Whether the end of an attempt was never recorded, so that its hours are left out."""

    def __add__(self, other: GpuUse) -> GpuUse:
        return GpuUse(
            hours=self.hours + other.hours,
            gpu_hours=self.gpu_hours + other.gpu_hours,
            lost_hours=self.lost_hours + other.lost_hours,
            lost_gpu_hours=self.lost_gpu_hours + other.lost_gpu_hours,
            is_lower_bound=self.is_lower_bound or other.is_lower_bound,
        )


def gpu_use(
    attempts: Iterable[Attempt], resources: Mapping[str, Any], *, now: float | None
) -> GpuUse:
    """Return what the attempts used and lost.

    An attempt loses the share of its time that its unsaved iterations have among its iterations;
    one that saved nothing loses all, its start included.

    Args:
        resources: Those of the config, as plain data; empty if it cannot be read. Shares of GPUs
            and the number of nodes are from there.
        now: Unix time in seconds at which the last attempt is still running; None if none is.
    """
    total = GpuUse()
    attempts = list(attempts)
    for attempt in attempts:
        ended = attempt.ended
        if ended is None and attempt is attempts[-1]:
            ended = now
        if attempt.began is None or ended is None:
            total += GpuUse(is_lower_bound=True)
            continue
        hours = max(0.0, ended - attempt.began) / 3600
        lost, gpus = hours * _lost_share(attempt), _num_gpus(attempt, resources)
        total += GpuUse(
            hours=hours, gpu_hours=hours * gpus, lost_hours=lost, lost_gpu_hours=lost * gpus
        )
    return total


def _lost_share(attempt: Attempt) -> float:
    if attempt.cause is None or attempt.cause == Cause.FINISHED:  # nothing is lost so far
        return 0.0
    gained, lost = attempt.gained or 0, attempt.lost or 0
    return lost / (gained + lost) if gained > 0 else 1.0


def _num_gpus(attempt: Attempt, resources: Mapping[str, Any]) -> float:
    asked, nodes = resources.get("gpus"), resources.get("nodes")
    devices = sum(map(len, attempt.gpus))  # of the first node; the others have as many
    if isinstance(asked, int | float) and 0 < asked < 1:
        return min(devices, asked)
    return devices * (nodes if isinstance(nodes, int) else 1)
