"""Requests to stop: signals set a flag, and the death of the supervisor sends one."""

from __future__ import annotations

import ctypes
import os
import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""Slurm announces preemptions and time limits with one of these; SIGINT is Ctrl-C."""

_VARIABLE = "LAUNCH_SUPERVISOR_PID"
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>; Python has no wrapper


class StopFlag:
    """Returns, when called, whether one of SIGNALS has arrived.

    The handler sets a flag and does nothing else, since it may interrupt any line. A second Ctrl-C
    raises KeyboardInterrupt as usual.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def listen(self) -> None:
        """Install the handlers of SIGNALS; Python allows that on the main thread only."""
        for signum in SIGNALS:
            signal.signal(signum, self._receive)

    def __call__(self) -> bool:
        return self.received is not None

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(signum)
        if signum == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def set_pdeathsig() -> None:
    """Have the kernel send SIGTERM to this process when its supervisor dies, even by SIGKILL.

    Otherwise a trainer would keep its GPU while the next attempt starts there. The supervisor is
    the parent process; without LAUNCH_SUPERVISOR_PID there is none.
    """
    supervisor = os.environ.get(_VARIABLE)
    if supervisor is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # The signal is sent for deaths from now on. A supervisor that died before has left this process
    # to another parent. See prctl(2).
    if os.getppid() != int(supervisor):
        os.kill(os.getpid(), signal.SIGTERM)
