"""Wait out what passes: try again with exponential backoff, up to a bound, heeding stops."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from trainers.errors import StopRequestedError
from trainers.run.failure_class import is_of_this_moment
from trainers.run.sections import beat

T = TypeVar("T")

FIRST_DELAY_S = 0.25
MAX_DELAY_S = 5.0
"""A file system that comes back is noticed within this time."""
_POLL_S = 0.1
"""A stop is to be noticed within a second, wherever a process waits."""


def never() -> bool:
    """Return False: there is nobody who could ask for a stop."""
    return False


def delays(first_s: float, longest_s: float) -> Iterator[float]:
    """Yield the seconds to wait before each further attempt: doubled each time, up to a bound.

    Each is varied by a quarter, so that those whom one outage has hit do not come back as one.
    """
    delay_s = first_s
    while True:
        # Not the module's own functions: their state belongs to the training.
        yield delay_s * random.SystemRandom().uniform(0.75, 1.25)
        delay_s = min(2 * delay_s, longest_s)


def retry(
    attempt: Callable[[], T],
    *,
    timeout_s: float,
    passes: Callable[[Exception], bool] = is_of_this_moment,
    should_stop: Callable[[], bool] = never,
    on_failure: Callable[[Exception, float], None] = lambda error, elapsed_s: None,
) -> T:
    """Return what `attempt` returns; try again while it fails for a reason that passes.

    Args:
        timeout_s: Seconds after which the failure of the last attempt is raised. What an attempt
            itself takes is not cut short.
        passes: Whether another attempt may succeed after this failure.
        should_stop: Polled while waiting.
        on_failure: Called with each failure that is waited out, and the seconds since the start.

    Raises:
        StopRequestedError: A stop was requested while waiting.
        Exception: What the last attempt raised.
    """
    began = time.monotonic()
    delay_s = FIRST_DELAY_S
    while True:
        try:
            return attempt()
        except Exception as error:
            elapsed_s = time.monotonic() - began
            if not passes(error) or elapsed_s >= timeout_s:
                raise
            on_failure(error, elapsed_s)
            wait(min(delay_s, timeout_s - elapsed_s), should_stop, reason=error)
            delay_s = min(2 * delay_s, MAX_DELAY_S)


def wait(
    seconds: float, should_stop: Callable[[], bool] = never, *, reason: object = "a retry"
) -> None:
    """Sleep, unless a stop is requested.

    Args:
        reason: What is waited out, for the message.

    Raises:
        StopRequestedError: A stop was requested meanwhile, or before.
    """
    deadline = time.monotonic() + seconds
    while True:
        if should_stop():
            raise StopRequestedError(f"stopped while waiting: {reason}")
        left = deadline - time.monotonic()
        if left <= 0:
            return
        beat()  # to wait on purpose is no hang
        time.sleep(min(left, _POLL_S))
