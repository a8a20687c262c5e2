"""Where a supervisor runs, and in which start of its job."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class ThisNode:
    """One node of a job, in one of its starts."""

    index: int = 0
    name: str
    job: str
    """As the scheduler calls it."""
    restarts: int = 0
    """Of this job."""
    start: int = 0
    """Counts the starts of the pack, whichever job it was in."""
