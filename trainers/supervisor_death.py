"""A trainer does not outlive the supervisor that has started it."""

from __future__ import annotations

import ctypes
import os
import signal

_VARIABLE = "LAUNCH_SUPERVISOR_PID"
_PR_SET_PDEATHSIG = 1


def stop_with_supervisor() -> None:
    """Have this process be sent SIGTERM when its supervisor dies, in whatever way, or has died.

    Only a process that LAUNCH_SUPERVISOR_PID is set for has a supervisor: its parent.
    """
    supervisor = os.environ.get(_VARIABLE)
    if supervisor is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(supervisor):
        os.kill(os.getpid(), signal.SIGTERM)
