"""A process that can be told from a later one with the same number."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class Process:
    pid: int
    start: str
    """When it started, in ticks after the boot, and which boot."""

    def is_running(self) -> bool:
        return start_of(self.pid) == self.start

    def send(self, signum: signal.Signals) -> None:
        """To this process and to no other: the descriptor stays with it."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.is_running():
                signal.pidfd_send_signal(descriptor, signum)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)

    def has_ended_in(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_running():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def process_of(pid: int) -> Process | None:
    start = start_of(pid)
    return Process(pid=pid, start=start) if start else None


def start_of(pid: int) -> str:
    """Empty if there is no such process; one that has ended and only waits to be reaped is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else f"{fields[19]} {BOOT.read_text().strip()}"
