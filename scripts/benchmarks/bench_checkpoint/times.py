"""What was measured, round by round."""

from __future__ import annotations

import statistics
from collections import defaultdict


class Times:
    """The first round is kept apart: it pays for what is done once."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, name: str, what: str, seconds: float) -> None:
        self._seconds[name, what].append(seconds)

    def first(self, name: str, what: str) -> float:
        return self._seconds[name, what][0]

    def median(self, name: str, what: str) -> float:
        """Of all rounds after the first."""
        return statistics.median(self._seconds[name, what][1:])
