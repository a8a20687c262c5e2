"""The state of a run as a checkpoint will hold it, in memory of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen


def at_once(num_bytes: int) -> None:
    """Nothing to wait for."""


@frozen(kw_only=True)
class StagedState:
    """Skeleton and tensors of a state that no longer changes with the training."""

    skeleton: Any
    """See `skeleton`."""
    content: memoryview
    """Of the data file; goes on to the end of the last page."""
    num_bytes: int
    """The length of the data file."""
    wait_for: Callable[[int], None] = at_once
    """Returns once so many bytes are there; raises CheckpointError if they never will be."""

    def wait(self) -> None:
        """Return once all of it is there."""
        self.wait_for(self.num_bytes)
