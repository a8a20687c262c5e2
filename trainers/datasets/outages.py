"""Wait for volumes that are away, and give up on those that are wrong."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from trainers.errors import DataError, DataUnavailableError, StopRequestedError
from trainers.run import failure_class
from trainers.run.backoff import retry

if TYPE_CHECKING:
    from trainers.datasets.read_options import Reading

T = TypeVar("T")

_PASSING_STATUS = re.compile(
    "UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|UNKNOWN|INTERNAL|RESOURCE_EXHAUSTED|CANCELLED"
)
"""Of TensorStore's errors, whose messages begin with it."""
_OS_ERROR = re.compile(r"os_error_code='(\d+)'")
"""The errno in a message of TensorStore, whose own status may be misleading: that of ENOTCONN is
FAILED_PRECONDITION, as for a chunk that cannot be decoded."""
_SOURCE_LOCATIONS = re.compile(r" \[source locations='[^']*'\]")
"""In the messages of TensorStore up to 0.1.85: lines of its own code, for its developers."""
_LAST_ATTEMPT_S = 1.0
"""The time that an attempt gets at least, so that the last one is worth making."""

_logger = logging.getLogger(__name__)


def is_of_this_moment(error: Exception) -> bool:
    """Return whether a failure passes by itself: of the operating system or of TensorStore."""
    if isinstance(error, TimeoutError) or failure_class.is_of_this_moment(error):
        return True
    if not isinstance(error, ValueError):
        return False
    number = _OS_ERROR.search(str(error))
    return _PASSING_STATUS.match(str(error)) is not None or (
        number is not None and failure_class.is_of_this_moment(OSError(int(number[1]), ""))
    )


class _Outages:
    """The volumes that cannot be read at present; each outage is logged once in a process.

    Reads of one volume that fail share their patience: however many they are, and whether they wait
    at the same time or one after the other, they give up when the first of them does.
    """

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._lock = threading.Lock()

    def duration_s(self, volume: str, *, since: float, error: Exception, timeout_s: float) -> float:
        """Return for how long a volume is away that `error` says cannot be read.

        Args:
            since: When the read was requested; the outage began then, if it was not known yet.
        """
        with self._lock:
            if volume not in self._began:
                self._began[volume] = since
                _logger.warning(
                    "%s cannot be read; waiting for it for up to %g s: %s",
                    volume,
                    timeout_s,
                    brief(error),
                )
            return time.monotonic() - self._began[volume]

    def end(self, volume: str) -> None:
        """Note that a read has succeeded that was waiting for the volume."""
        with self._lock:
            began = self._began.pop(volume, None)
        if began is not None:
            _logger.warning("%s can be read again, after %.1f s", volume, time.monotonic() - began)


_outages = _Outages()


def wait_out(
    attempt: Callable[[float], T],
    *,
    volume: object,
    part: str,
    reading: Reading,
    grace_s: Callable[[Exception], float | None],
    advice: Callable[[Exception], str] = lambda error: "",
) -> T:
    """Return what `attempt` returns; try again for as long as its failure may pass.

    Args:
        attempt: Called with the seconds that it may take.
        volume: The path or name of what is read.
        part: What is read of it.
        grace_s: Decides about a failure: None if the volume is away, which is waited out until
            `reading.timeout_s` has passed; otherwise the seconds that it is given to pass.
        advice: What to do about a failure that does not pass; appended to the message.

    Raises:
        DataUnavailableError: The volume stayed away.
        DataError: It is there, and cannot be read.
        StopRequestedError: `reading.should_stop` said so meanwhile.
    """
    began = time.monotonic()
    away_s: float | None = None
    was_away = False
    wrong_since: float | None = None

    def passes(error: Exception) -> bool:
        nonlocal away_s, was_away, wrong_since
        if isinstance(error, StopRequestedError):
            return False
        grace = grace_s(error)
        if grace is None:
            was_away, wrong_since = True, None
            away_s = _outages.duration_s(
                str(volume), since=began, error=error, timeout_s=reading.timeout_s
            )
            return away_s < reading.timeout_s
        away_s = None
        now = time.monotonic()
        wrong_since = now if wrong_since is None else wrong_since
        return now - wrong_since < min(grace, reading.timeout_s)

    def attempt_in_time() -> T:
        left = began + reading.timeout_s - time.monotonic()
        return attempt(max(left, min(_LAST_ATTEMPT_S, reading.timeout_s)))

    try:
        result = retry(
            attempt_in_time,
            timeout_s=reading.timeout_s,
            passes=passes,
            should_stop=reading.should_stop,
        )
    except StopRequestedError:
        raise
    except Exception as error:
        if away_s is not None:
            raise DataUnavailableError(
                f"{volume}: cannot read {part}, tried for {away_s:.3g} s: {brief(error)}; look at "
                "its file system or server, and at the credentials for it, or wait for longer with "
                "`reading.timeout_s`"
            ) from error
        if isinstance(error, DataError):
            raise
        raise DataError(f"{volume}: cannot read {part}: {brief(error)}{advice(error)}") from error
    if was_away:
        _outages.end(str(volume))
    return result


def brief(error: Exception) -> str:
    """Return the message of an error without the details in brackets that TensorStore appends."""
    if isinstance(error, TimeoutError):
        return "no answer"
    return _SOURCE_LOCATIONS.sub("", str(error))
