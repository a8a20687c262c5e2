"""When what happened while a run was interrupted."""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from scripts.slurm_sandbox.process import start_of

FINISHED = "first new iteration"


@frozen(kw_only=True)
class Interruption:
    """From the last iteration of one process to the first one of the next."""

    marks: dict[str, float]
    """What happened, in order, and how many seconds after the last iteration."""
    lost: int
    """Iterations that were done again."""

    @property
    def total_s(self) -> float:
        return self.marks[FINISHED]

    @property
    def slurm_s(self) -> float:
        """From when the job is in the queue again to its next start."""
        return self.marks["job runs again"] - self.marks["job pending"]

    @property
    def own_s(self) -> float:
        return self.total_s - self.slurm_s

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "total_s": self.total_s, "slurm_s": self.slurm_s}

    def __str__(self) -> str:
        return (
            f"{self.total_s:.2f} s, of it {self.slurm_s:.2f} s until Slurm starts the job again; "
            f"{self.lost} iterations lost"
        )


def interruption(
    *,
    journal: list[dict[str, Any]],
    marks: list[dict[str, Any]],
    controller_log: Path,
    job: str,
    old: int,
    new: int,
    gone_at: float,
) -> Interruption:
    """Put in order what several have noted.

    Args:
        journal: The network's.
        marks: The contestant's own.
        old, new: The process before and after.
        gone_at: When the old one was gone.
    """
    trained = [each for each in journal if each["event"] == "iteration"]
    before = [each["time"] for each in trained if each["pid"] == old]
    after = [each["time"] for each in trained if each["pid"] == new]
    begin, end = before[-1], after[0]
    times = {"process gone": gone_at, "process started": process_start(new), FINISHED: end}
    for mark in marks:
        if begin - 1 < mark["time"] < end and mark["event"] != "iteration":
            times.setdefault(mark["event"], mark["time"])
    for what, moment in controller_marks(controller_log, job).items():
        times[what] = next((each for each in moment if begin - 1 < each < end), begin)
    ordered = sorted(times.items(), key=lambda each: each[1])
    begun = [each["iteration"] for each in marks if each["event"] == "restored"]
    first = begun[-2] if len(begun) > 1 else 0
    return Interruption(
        marks={what: moment - begin for what, moment in ordered},
        lost=first + len(before) - begun[-1],
    )


def controller_marks(log: Path, job: str) -> dict[str, list[float]]:
    """What slurmctld says about a job."""
    words = {"job pending": "[Rr]equeu", "job runs again": "Allocate|Started"}
    lines = re.findall(rf"^\[(\S+)\] (.*JobId={job}\b.*)$", log.read_text(), re.MULTILINE)
    return {
        what: [
            datetime.fromisoformat(moment).timestamp()
            for moment, line in lines
            if re.search(pattern, line)
        ]
        for what, pattern in words.items()
    }


def watch_end(pid: int) -> float:
    """Wait until a process is gone; the time."""
    while start_of(pid):
        time.sleep(0.01)
    return time.time()


def process_start(pid: int) -> float:
    ticks = int(start_of(pid).split()[0])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - uptime + ticks / 100
