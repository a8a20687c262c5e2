"""Processes that are forked from one in which torch is loaded, and tell in lines what they do."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 120.0
"""A process that says nothing for so long hangs."""

Say = Callable[[str], None]


class Hung(Exception):
    """A process has said nothing for a long time; it has been killed."""


class Forked:
    """A process that does some work and ends; what it prints or logs goes to a file.

    Args:
        work: Is given a function that says a line to the parent. If it raises, the traceback is in
            the log, and the exit status is 1.
    """

    def __init__(self, work: Callable[[Say], None], log: Path) -> None:
        reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(reader)
            _do(work, writer, log)
        os.close(writer)
        self._reader = reader
        self._rest = b""
        self.exit_code: int | None = None
        """Minus the number of a signal, as `subprocess` has it; None until the lines are over."""

    def line(self) -> str | None:
        """What it says next; None when it has ended."""
        while b"\n" not in self._rest:
            if not select.select([self._reader], [], [], PATIENCE_S)[0]:
                self.kill()
                raise Hung(f"said nothing for {PATIENCE_S:.0f} s")
            data = os.read(self._reader, 65536)
            if not data:
                self._wait()
                return None
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def lines(self) -> list[str]:
        """All that it says from now to its end."""
        return list(iter(self.line, None))

    def says_within(self, seconds: float) -> bool:
        """Whether the next line, or the end, comes within a time."""
        return b"\n" in self._rest or bool(select.select([self._reader], [], [], seconds)[0])

    def kill(self) -> None:
        """At once, as nothing can be prepared for; what it has said can still be read."""
        os.kill(self._pid, signal.SIGKILL)

    def _wait(self) -> None:
        if self.exit_code is None:
            os.close(self._reader)
            self.exit_code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def _do(work: Callable[[Say], None], writer: int, log: Path) -> None:
    """Never returns."""
    code = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        logging.disable(logging.NOTSET)
        logging.basicConfig(
            level=logging.INFO, format="%(relativeCreated)d %(levelname)s %(message)s", force=True
        )
        work(lambda text: _write(writer, text))
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _write(writer: int, text: str) -> None:
    os.write(writer, f"{text}\n".encode())
