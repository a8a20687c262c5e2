"""Smoothed loss and recent rate of a run: no clock, no disk."""

from __future__ import annotations

import math
from collections import deque

HALF_LIFE = 50
"""Iterations after which a loss counts half in the smoothed one."""
WINDOW_S = 60.0
_DECAY = 0.5 ** (1 / HALF_LIFE)


class SmoothedLoss:
    """An exponential mean of losses, the newest counting most.

    It is divided by the sum of the weights, so that the first iterations are a plain mean rather
    than a climb from zero.

    Args:
        before: The smoothed loss of an earlier attempt, which goes on here; None if there is none.
    """

    def __init__(self, before: float | None = None) -> None:
        # The weight of infinitely many iterations: the two attempts are one run.
        self._weight = 0.0 if before is None else 1 / (1 - _DECAY)
        self._sum = 0.0 if before is None else before * self._weight

    def add(self, loss: float) -> None:
        """Take the loss of one iteration; what is not finite is left out."""
        if math.isfinite(loss):
            self._sum = self._sum * _DECAY + loss
            self._weight = self._weight * _DECAY + 1

    @property
    def value(self) -> float | None:
        """The smoothed loss; None before there is a loss."""
        return self._sum / self._weight if self._weight else None


class RecentRate:
    """Iterations per second over the last WINDOW_S, or over the last two reports if these are
    further apart.
    """

    def __init__(self) -> None:
        self._reports: deque[tuple[float, int]] = deque()

    def report(self, iteration: int, now_s: float) -> None:
        """Take the number of completed iterations.

        Args:
            now_s: A monotonic clock, in seconds.
        """
        if self._reports and self._reports[-1][1] == iteration:
            return
        self._reports.append((now_s, iteration))
        while len(self._reports) > 2 and self._reports[1][0] <= now_s - WINDOW_S:
            self._reports.popleft()

    @property
    def is_new(self) -> bool:
        """Whether nothing was reported yet."""
        return not self._reports

    @property
    def value(self) -> float | None:
        """Iterations per second; None before two reports."""
        if len(self._reports) < 2:
            return None
        (began_s, before), (now_s, done) = self._reports[0], self._reports[-1]
        return (done - before) / (now_s - began_s) if now_s > began_s and done > before else None
