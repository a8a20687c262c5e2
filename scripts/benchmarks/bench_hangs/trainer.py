"""A trainer that a case makes hang, attempt by attempt."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from scripts.workloads.fault_windows import FaultWindows, Window
from scripts.workloads.hangs import FOREVER_S, leave_act, write_hanging_run
from scripts.workloads.logs import json_lines, tail
from scripts.workloads.ranks import Attempt
from trainers import exit_codes
from trainers.run.run_state import EventKind, RunState, read_state

PAUSE_S = 0.05
"""Of each iteration, so that all cases together leave the cores idle."""
_POLL_S = 0.02
_PATIENCE_S = 1200.0
"""For whatever must come, on a machine that does other things too."""
_STARTED = {EventKind.STARTED, EventKind.RESTORED}

_starting = threading.Semaphore(os.cpu_count() or 1)
"""Starts take all of a core: all at the same time would be so slow as to make the bounds long."""


class Trainer:
    """A run of its own, and its newest attempt.

    Args:
        windows: Through which its file operations hang.
    """

    def __init__(self, folder: Path, windows: FaultWindows) -> None:
        self.folder = folder
        self.windows = windows
        self._attempts: list[Attempt] = []
        folder.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill what has not ended."""
        for attempt in self._attempts:
            attempt.kill()

    @property
    def attempt(self) -> Attempt:
        """The newest one."""
        return self._attempts[-1]

    def start(
        self, *, size: int = 1, overrides: Mapping[str, Any] = {}, ballast_mb: int = 0
    ) -> None:
        """Begin a new run."""
        net = {"pause_s": PAUSE_S, "ballast_mb": ballast_mb}
        self.run = write_hanging_run(self.folder, "run", overrides, net=net)
        self._size = size
        self.start_again()

    def start_again(self, *, comes_far: bool = True) -> None:
        """Begin the next attempt, and wait until it has imported all and restored the run.

        Args:
            comes_far: False if it hangs before that.
        """
        number, environment = len(self._attempts), self.windows.environment
        with _starting:
            self._attempts.append(
                Attempt(self.run, self._size, number=number, environment=environment)
            )
            self.wait_until(lambda: not comes_far or self._num_starts > number)

    @property
    def _num_starts(self) -> int:
        return sum(line["event"] in _STARTED for line in json_lines(self.run.events))

    def stop(self) -> list[int]:
        """Stop the attempt as a preemption does; return the exit codes."""
        for rank in self.attempt.ranks:
            rank.send_signal(signal.SIGTERM)
        return self.attempt.end()

    def stop_early(self, *sections: str) -> None:
        """Have an attempt know sections, and stop it."""
        self.wait_until_known("step", *sections)
        codes = self.stop()
        assert set(codes) == {exit_codes.STOPPED}, self.story()

    @property
    def state(self) -> RunState:
        return read_state(self.run)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Poll; all ranks must go on meanwhile.

        Raises:
            RuntimeError: One has ended.
            TimeoutError: It does not come.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not is_so():
            if any(rank.poll() is not None for rank in self.attempt.ranks):
                raise RuntimeError(f"a rank has ended early\n{self.story()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing within {_PATIENCE_S:.0f} s\n{self.story()}")
            time.sleep(_POLL_S)

    def wait_until_known(self, *sections: str) -> None:
        """Return when the state has the durations of these sections."""
        self.wait_until(lambda: set(sections) <= set(self.state.slowest_sections_s))

    def wait_for_more(self, iterations: int) -> None:
        """Return after so many further iterations."""
        wanted = self.state.iteration + iterations
        self.wait_until(lambda: self.state.iteration >= wanted)

    def act(self, name: str, *, rank: int = 0, seconds: float = FOREVER_S) -> float:
        """Have a rank do something; return when it began. See `leave_act`."""
        return self.begun(leave_act(self.folder, name, rank=rank, seconds=seconds))

    def begun(self, act: Path) -> float:
        """Return when an act begins."""
        self.wait_until(lambda: not act.exists())
        return time.monotonic()

    def sleep_while_open(self, window: Window) -> None:
        """Return when a window is closed."""
        self.wait_until(lambda: not window.is_open)

    def struck(self, window: Window) -> float:
        """Return when the first call hangs in a window."""
        self.wait_until(lambda: window.num_struck > 0)
        return time.monotonic()

    def last_line(self, rank: int = 0) -> str:
        lines = self.log(rank).splitlines()
        return lines[-1] if lines else ""

    def log(self, rank: int = 0) -> str:
        return self.run.log(len(self._attempts) - 1, rank).read_text(errors="replace")

    def story(self) -> str:
        return "\n".join(map(tail, sorted(self.run.logs.iterdir())))
