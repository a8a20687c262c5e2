"""Why a job is asked to stop."""

from __future__ import annotations

from abc import ABC, abstractmethod

from launcher.job.attempt_end import StopRequest
from trainers.stop_flag import StopFlag


class JobStop(ABC):
    """Tells a supervisor to stop, and why."""

    @abstractmethod
    def is_asked(self) -> bool: ...

    @abstractmethod
    def request(self) -> StopRequest:
        """Why; asked once it is, and after the members have been told."""

    @abstractmethod
    def grace_s(self) -> float:
        """How long the members may take to go; asked like `request`."""


class SignalStop(JobStop):
    """A signal to this process, of which no more is known than its name."""

    def __init__(self, flag: StopFlag, grace_s: float) -> None:
        self._flag = flag
        self._grace_s = grace_s

    def is_asked(self) -> bool:
        return self._flag()

    def request(self) -> StopRequest:
        received = self._flag.received
        assert received is not None
        return StopRequest(cause="preempted", reason=f"its supervisor heard {received.name}")

    def grace_s(self) -> float:
        return self._grace_s
