"""Remember that somebody asked this process to stop."""

from __future__ import annotations

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
