"""Sections: which part of a training each thread is in, and for how long without progress.

Entering and leaving a section reads no clock: `trainers.run.watchdog` adds up the time, tick by
tick. Time in which the process was suspended has no ticks, so that it counts nowhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum, auto

from attrs import define, frozen

HANG_PREFIX = "hang:"
"""Begins the last line of the log of a process that hung."""
MIN_BOUND_S = 60.0
FIRST_BOUND_S = 1800.0
"""The bound of a section that the run has not seen yet: compilations, a cold network file system"""
FACTOR = 5.0


class Section(StrEnum):
    """The parts of a training; the texts are those of logs, and of `state.json`."""

    START = auto()
    """Imports, the rendezvous of ranks, building network and stream."""
    RESTORE = auto()
    """Reading a checkpoint."""
    DATA = auto()
    """Making samples, and waiting for them."""
    STEP = auto()
    """All of an iteration that is not in another section."""
    COLLECTIVE = auto()
    """Waiting for other ranks."""
    SAVE = auto()
    """Copying, writing and deleting checkpoints, and waiting for that."""
    WANDB = auto()
    CLOSE = auto()
    """From the end of the last iteration to the end of the process."""


@frozen(kw_only=True)
class Silence:
    """A section that has made no progress for longer than its bound."""

    kind: Section
    thread: int
    silent_s: float
    slowest_s: float | None
    bound_s: float


@define
class _Open:
    """A section that a thread is in."""

    kind: Section
    own_s: float = 0.0
    """Without the sections inside of it."""
    silent_s: float = 0.0


def bound_s(slowest_s: float | None, *, min_bound_s: float = MIN_BOUND_S) -> float:
    """Return how long a section may be without progress.

    Args:
        slowest_s: The slowest section of its kind so far; None before the first one.
    """
    if slowest_s is None:
        return min_bound_s * FIRST_BOUND_S / MIN_BOUND_S
    return max(min_bound_s, FACTOR * slowest_s)


class Sections:
    """The sections of all threads of a process. Thread-safe without a lock, thanks to the GIL."""

    def __init__(self) -> None:
        self.min_bound_s = MIN_BOUND_S
        self.slowest_s: dict[str, float] = {}
        """The slowest one of each kind, over all attempts of a run."""
        self.spent_s: dict[str, float] = {}
        """Seconds of the main thread so far, by its innermost section."""
        self.silent: frozenset[Section] = frozenset()
        """The kinds of sections that were beyond their bounds at the last tick."""
        self.on_beat: Callable[[], None] = _ignore
        """Called with each report of progress, on its thread."""
        self.on_turn: Callable[[], None] = _ignore
        """Called when a thread has entered another kind of section, or for the second time one that
        was not known before, on that thread."""
        self._stacks: dict[int, list[_Open]] = {}

    def learn(self, slowest_s: Mapping[str, float]) -> None:
        """Learn how slow sections were in earlier attempts; unknown kinds are ignored."""
        for kind in Section:
            if kind in slowest_s:
                self._note(kind, slowest_s[kind])

    def learned(self) -> dict[str, float]:
        """Return how slow sections have been so far, for `learn` in a later attempt."""
        return {kind: round(seconds, 1) for kind, seconds in dict(self.slowest_s).items()}

    def enter(self, kind: Section) -> None:
        """Put the calling thread into a section until it enters another one.

        Sections from `section` lie inside of this one.
        """
        stack = self._stack()
        is_turn = not stack or stack[0].kind is not kind or kind not in self.slowest_s
        if stack:
            self._note(stack[0].kind, stack[0].own_s)
        stack[:1] = [_Open(kind)]
        if is_turn:
            self.on_turn()

    @contextmanager
    def section(self, kind: Section) -> Iterator[None]:
        """Put the calling thread into a section; the one around it pauses."""
        stack = self._stack()
        stack.append(_Open(kind))
        try:
            yield
        finally:
            ended = stack.pop()
            self._note(kind, ended.own_s)
            if stack:
                stack[-1].silent_s = 0.0

    def beat(self, kind: Section | None = None) -> None:
        """Report progress in all sections of a kind; by default that of the calling thread's."""
        self.on_beat()
        kind = kind or self.current()
        for stack in list(self._stacks.values()):
            for each in list(stack):
                if each.kind is kind:
                    each.silent_s = 0.0

    def current(self, thread: int | None = None) -> Section | None:
        """Return the innermost section of a thread; by default the calling one."""
        stack = self._stacks.get(threading.get_ident() if thread is None else thread)
        return stack[-1].kind if stack else None

    def tick(self, seconds: float) -> list[Silence]:
        """Let time pass; return the sections that are beyond their bounds."""
        main = threading.main_thread().ident
        found = []
        for thread, stack in list(self._stacks.items()):
            for innermost in stack[-1:]:
                kind, slowest_s = innermost.kind, self.slowest_s.get(innermost.kind)
                innermost.own_s += seconds
                innermost.silent_s += seconds
                if thread == main:
                    self.spent_s[kind] = self.spent_s.get(kind, 0.0) + seconds
                bound = self.bound_s(kind)
                if innermost.silent_s >= bound:
                    found.append(
                        Silence(
                            kind=kind,
                            thread=thread,
                            silent_s=innermost.silent_s,
                            slowest_s=slowest_s,
                            bound_s=bound,
                        )
                    )
        self.silent = frozenset(each.kind for each in found)
        return found

    def bound_s(self, kind: Section) -> float:
        """Return how long a section of this kind may be without progress."""
        return bound_s(self.slowest_s.get(kind), min_bound_s=self.min_bound_s)

    def silent_s(self, thread: int) -> float:
        """Return for how long the innermost section of a thread has made no progress."""
        stack = self._stacks.get(thread)
        return stack[-1].silent_s if stack else 0.0

    def _stack(self) -> list[_Open]:
        return self._stacks.setdefault(threading.get_ident(), [])

    def _note(self, kind: Section, seconds: float) -> None:
        if seconds >= self.slowest_s.get(kind, 0.0):
            self.slowest_s[kind] = seconds


def _ignore() -> None:
    pass


SECTIONS = Sections()
"""Those of this process."""
section = SECTIONS.section
enter = SECTIONS.enter
beat = SECTIONS.beat
