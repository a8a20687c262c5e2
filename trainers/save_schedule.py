"""When it is time to save."""

from __future__ import annotations


class SaveSchedule:
    """At multiples of some number of iterations, and at latest some time after the save before.

    Args:
        every_iterations, every_minutes: None for one that does not count.
        now_s: On a clock that only goes forward; the time counts from here.
    """

    def __init__(
        self, *, every_iterations: int | None, every_minutes: float | None, now_s: float
    ) -> None:
        self._every_iterations = every_iterations
        self._period_s = None if every_minutes is None else 60 * every_minutes
        self._last_s = now_s

    def is_due(self, iteration: int, *, now_s: float) -> bool:
        """Whether to save after so many iterations; if so, the time counts from now on."""
        every, period_s = self._every_iterations, self._period_s
        due = (every is not None and iteration % every == 0) or (
            period_s is not None and now_s >= self._last_s + period_s
        )
        if due:
            self._last_s = now_s
        return due
