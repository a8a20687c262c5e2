"""Recognize a run that has become slow, by its own best rate: no clock, no disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

WINDOW_S = 60.0
SLOW_AFTER_S = 300.0
SLOW_SHARE = 0.6
"""Of the run's best rate: a run below it is slow."""
_BEST_OF = 3
"""The best rate is the mean over this many windows: one alone may be luck."""


class RateMonitor:
    """Compares the rate of iterations with the best one of the run, in windows of a minute.

    Args:
        fastest_iteration_s: See `RunState`.
    """

    def __init__(self, fastest_iteration_s: Mapping[str, float] = {}) -> None:
        self.fastest_iteration_s = dict(fastest_iteration_s)
        """Seconds of an iteration by section, at the best rate so far; {} before there is one."""
        self.slow = ""
        """How slow the run is and why, for a person to read; empty if it is not."""
        self._began: tuple[int, Mapping[str, float]] | None = None
        self._windows: deque[dict[str, float]] = deque(maxlen=_BEST_OF)
        self._slow_s = 0.0

    def observe(self, iteration: int, spent_s: Mapping[str, float]) -> None:
        """Take note of an iteration that is done.

        Args:
            spent_s: Seconds of the attempt so far by section, without those of a suspension.
        """
        if self._began is None:  # from here on: the first iteration compiles
            self._began = iteration, dict(spent_s)
        began, before_s = self._began
        passed_s = {kind: spent - before_s.get(kind, 0.0) for kind, spent in spent_s.items()}
        total_s, num_iterations = sum(passed_s.values()), iteration - began
        if total_s < WINDOW_S or num_iterations <= 0:
            return
        self._began = iteration, dict(spent_s)
        parts_s = {kind: seconds / num_iterations for kind, seconds in passed_s.items() if seconds}
        self._compare(parts_s, total_s)
        self._windows.append(parts_s)
        if len(self._windows) == _BEST_OF:
            mean_s = _mean(list(self._windows))
            best_s = sum(self.fastest_iteration_s.values())
            if not best_s or sum(mean_s.values()) < best_s:
                self.fastest_iteration_s = mean_s

    def _compare(self, parts_s: Mapping[str, float], total_s: float) -> None:
        now_s, best_s = sum(parts_s.values()), sum(self.fastest_iteration_s.values())
        self._slow_s = self._slow_s + total_s if best_s < SLOW_SHARE * now_s else 0.0
        if not best_s or self._slow_s < SLOW_AFTER_S:
            self.slow = ""
            return
        growth_s = {
            kind: seconds - self.fastest_iteration_s.get(kind, 0.0)
            for kind, seconds in parts_s.items()
        }
        kind = max(growth_s, key=lambda each: growth_s[each])
        self.slow = (
            f"slow: {now_s:.3g} s an iteration, {best_s:.3g} s at its best; {kind} grew most, from "
            f"{self.fastest_iteration_s.get(kind, 0.0):.2g} to {parts_s[kind]:.2g} s"
        )


def _mean(windows: list[dict[str, float]]) -> dict[str, float]:
    kinds = sorted({kind for window in windows for kind in window})
    return {
        kind: round(sum(window.get(kind, 0.0) for window in windows) / len(windows), 6)
        for kind in kinds
    }
