"""Remember that somebody asked this process to stop, or that its supervisor has died."""

from __future__ import annotations

import ctypes
import os
import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""Schedulers announce a preemption or a time limit with one of these; SIGINT is Ctrl-C."""


class StopFlag:
    """Call it to learn whether one of SIGNALS has arrived.

    The handler sets a flag and does nothing else: it may interrupt any line. A second Ctrl-C
    interrupts as usual.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def listen(self) -> None:
        """Replace the handlers of SIGNALS; call it on the main thread."""
        for signum in SIGNALS:
            signal.signal(signum, self._receive)

    def __call__(self) -> bool:
        return self.received is not None

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(signum)
        if signum == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)


_VARIABLE = "LAUNCH_SUPERVISOR_PID"
_PR_SET_PDEATHSIG = 1


def set_pdeathsig() -> None:
    """Have this process be sent SIGTERM when its supervisor dies, in whatever way, or has died.

    Only a process that LAUNCH_SUPERVISOR_PID is set for has a supervisor: its parent.
    """
    supervisor = os.environ.get(_VARIABLE)
    if supervisor is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(supervisor):
        os.kill(os.getpid(), signal.SIGTERM)
