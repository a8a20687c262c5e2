"""The watchdog: ends a process that hangs, with the stacks of all of its threads in the log.

A thread looks once a second at `trainers.run.sections`. It measures only time in which it runs
itself, so that a process that was suspended, or got no core, has not hung.

A call into C that keeps the GIL stops this thread, too. Two timers of the operating system, which
the thread postpones at every look, notice that: faulthandler's prints the stacks, and the other one
ends the process by SIGALRM.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType

from trainers import exit_codes
from trainers.run.background_log import flush_log
from trainers.run.sections import (
    HANG_PREFIX,
    MIN_BOUND_S,
    SECTIONS,
    Section,
    Sections,
    Silence,
    bound_s,
)

MIN_BOUND_VARIABLE = "LAUNCH_WATCHDOG_MIN_S"
"""Seconds instead of MIN_BOUND_S; 0 turns the watchdog off."""
DUMP_SIGNAL = signal.SIGQUIT
"""Makes a child of `watched_children` print its stacks."""
_PERIOD_S = 1.0
_MAX_TICK_S = 2 * _PERIOD_S
"""Of a longer pause between two looks only this much counts: the process was suspended."""
_ENDING_S = 10.0
"""A log that cannot be written must not keep a process that hangs alive."""
_CHILDREN_S = 0.5
"""How long children may print their stacks."""
_FLUSH_S = 2.0
"""How long what was logged before may take; the words about the hang come last."""
_NUM_FRAMES = 3
_STDERR = 2

watched_children: set[int] = set()
"""Process ids of children whose stacks a hang prints; they end with this process."""

_libc = ctypes.CDLL(None)


def start(slowest_s: Mapping[str, float] = {}) -> None:
    """Watch this process from now on, unless the environment turns that off.

    Args:
        slowest_s: See `Sections.learn`.
    """
    min_bound_s = float(os.environ.get(MIN_BOUND_VARIABLE, MIN_BOUND_S))
    if min_bound_s <= 0:
        return
    SECTIONS.min_bound_s = min_bound_s
    SECTIONS.learn(slowest_s)
    watchdog = Watchdog(SECTIONS, on_hang=_end)
    SECTIONS.on_turn = watchdog.postpone  # the thread may never get the GIL again
    threading.Thread(target=watchdog.run, name="watchdog", daemon=True).start()


class Watchdog:
    """Ticks the sections of a process, and calls `on_hang` with the first one that hangs."""

    def __init__(
        self,
        sections: Sections,
        *,
        on_hang: Callable[[Silence], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sections = sections
        self._on_hang = on_hang
        self._clock = clock
        self._looked_at = clock()
        self._num_modules = 0

    def run(self) -> None:
        while True:
            self.postpone()
            time.sleep(_PERIOD_S)
            self.look()

    def postpone(self) -> None:
        _postpone_alarm(self.until_alarm_s())

    def look(self) -> None:
        """Count the time since the last look, and report what hangs."""
        now = self._clock()
        elapsed_s, self._looked_at = now - self._looked_at, now
        if len(sys.modules) != self._num_modules:  # a slow import, module by module, is no hang
            self._num_modules = len(sys.modules)
            self._sections.beat(Section.START)
        for silence in self._sections.tick(min(elapsed_s, _MAX_TICK_S)):
            if silence.kind is not Section.WANDB:  # training does without W&B
                self._on_hang(silence)

    def until_alarm_s(self) -> float:
        """Return after how long without a look the process counts as hung.

        The main thread may be in another section a moment later: that with the widest bound counts.
        """
        sections = self._sections
        if sections.current(threading.main_thread().ident) in (None, Section.START):
            # The loader of shared libraries keeps the GIL.
            return bound_s(None, min_bound_s=sections.min_bound_s)
        seen = [kind for kind in (Section.DATA, Section.COLLECTIVE) if kind in sections.slowest_s]
        longest_s = max(map(sections.bound_s, [Section.STEP, *seen]))
        return max(_MAX_TICK_S, longest_s - signal.SIGALRM)


def _postpone_alarm(seconds: float) -> None:
    """Have the stacks printed after some time, and this process ended 14 s (SIGALRM) later.

    Not at once: when a suspended process continues, its timers have expired. This thread then needs
    a moment to postpone them again.
    """
    faulthandler.dump_traceback_later(seconds, file=_STDERR)
    # The first SIGALRM calls alarm(SIGALRM), in C: the number of the signal becomes the seconds
    # until the second one. The handlers of sysv_signal serve once, so that one ends the process.
    _libc.sysv_signal(signal.SIGALRM, ctypes.cast(_libc.alarm, ctypes.c_void_p))
    signal.siginterrupt(signal.SIGALRM, False)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _end(silence: Silence) -> None:
    """Print the stacks of all threads and of data workers, then why; end the process."""
    faulthandler.cancel_dump_traceback_later()
    _libc.sysv_signal(signal.SIGALRM, ctypes.c_void_p(signal.SIG_DFL))
    signal.setitimer(signal.ITIMER_REAL, _ENDING_S)
    _signal_children(DUMP_SIGNAL, signal.SIGCONT)
    time.sleep(_CHILDREN_S if watched_children else 0)
    _signal_children(signal.SIGKILL)
    flush_log(_FLUSH_S)
    faulthandler.dump_traceback(file=_STDERR)
    frame = sys._current_frames().get(silence.thread)
    os.write(_STDERR, f"{describe(silence, frame)}\n".encode())
    os._exit(exit_codes.HANG)


def describe(silence: Silence, frame: FrameType | None) -> str:
    """Return one line about a hang: the section, the bound, and the innermost frames."""
    slowest = "none before" if silence.slowest_s is None else f"slowest {silence.slowest_s:.0f} s"
    places: list[str] = []
    while frame and len(places) < _NUM_FRAMES:
        code = frame.f_code
        places.append(f"{code.co_name} ({Path(code.co_filename).name}:{frame.f_lineno})")
        frame = frame.f_back
    where = " < ".join(places) or "a thread that has ended"
    return (
        f"{HANG_PREFIX} no progress in section {silence.kind} for {silence.silent_s:.0f} s "
        f"({slowest}, bound {silence.bound_s:.0f} s), in {where}; stacks above; "
        "the run resumes from its last checkpoint"
    )


def _signal_children(*signals: signal.Signals) -> None:
    for pid in list(watched_children):
        for each in signals:
            with suppress(ProcessLookupError):
                os.kill(pid, each)
