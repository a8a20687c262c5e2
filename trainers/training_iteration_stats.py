"""The report of a training iteration."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class TrainingIterationStats:
    """Loss, times and prefetch statistics of one iteration."""

    iteration: int
    """Counted from 0."""

    loss: float

    time: float
    """Seconds from the batch's arrival to the end of the optimizer step."""

    data_wait: float = 0.0
    """Seconds spent waiting for the batch."""

    data_queue_depth: float | None = None
    """Mean number of prefetched samples when one was requested; None without prefetching."""

    data_hit_rate: float | None = None
    """Prefetch hit rate: the share of samples that were ready when they were requested."""

    learning_rate: float
    """Of this iteration."""

    skipped_steps: int = 0
    """Iterations of the run so far whose optimizer step was left out, this one included."""

    non_finite: str = ""
    """Why the optimizer step of this iteration was left out; empty if it was taken."""
