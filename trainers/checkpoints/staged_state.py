"""The state of a run as a checkpoint will hold it, in memory of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen


@frozen(kw_only=True)
class StagedState:
    """Skeleton and tensors of a state that no longer changes with the training."""

    skeleton: Any
    """See `skeleton`."""
    content: memoryview
    """Of the data file; goes on to the end of the last page."""
    num_bytes: int
    """The length of the data file."""
    wait: Callable[[], None]
    """Returns once the content is there: a GPU may still be copying it."""
