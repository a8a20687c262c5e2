"""What one training iteration reports."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class TrainingIterationStats:
    """The figures of one iteration."""

    iteration: int
    """Counted from 0: the iteration that these figures are about."""

    loss: float

    time: float
    """Seconds from the batch's arrival to the end of the optimizer step."""

    data_wait: float = 0.0
    """Seconds that the trainer waited for the batch."""

    data_queue_depth: float | None = None
    """Samples that were ready when one was asked for, on average; None: none are made ahead."""

    data_hit_rate: float | None = None
    """Part of the samples that were ready when they were asked for."""

    learning_rate: float
    """As used in this iteration."""
