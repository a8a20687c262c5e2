"""What a run has used of its machine: the lines of `system.jsonl`, and their totals.

Light: the launcher reads it too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import field, frozen

from trainers.run.run_folder import RunFolder

GB = 2**30
_TAIL_BYTES = 64 * 2**10
"""More than a line with eight GPUs."""


@frozen(kw_only=True)
class SystemTotals:
    """What the node of rank 0 has spent on a run, over all attempts so far."""

    seconds: float = 0.0
    """Observed time."""
    cpu_s: float = 0.0
    """CPU time of all processes of the run."""
    gpu_s: float = 0.0
    """Observed time, summed over GPUs."""
    gpu_busy_s: float = 0.0
    """The part of `gpu_s` in which a kernel ran. Of a shared GPU, any run's."""
    peak_cores: float = 0.0
    """The most cores that were busy, as the mean of some seconds."""
    peak_memory_gb: float = 0.0
    """Main memory of all processes; pages that they share count once."""
    peak_gpu_memory_gb: float = 0.0
    """On that of the run's GPUs which had the most."""
    gpu_memory_gb: float = 0.0
    """What that GPU has."""


@frozen(kw_only=True)
class SystemSample:
    """A line of `system.jsonl`."""

    time: float
    """Unix time in seconds."""
    attempt: int
    node: str
    gpus: tuple[str, ...] = ()
    """The models of the run's GPUs on the node."""
    metrics: Mapping[str, float] = field(factory=dict)
    """By W&B's own names, such as `gpu.0.gpu`."""
    totals: SystemTotals = field(factory=SystemTotals)
    """With this sample. They stay true when lines are dropped, and in the next attempt."""

    @property
    def line(self) -> bytes:
        return json.dumps(attrs.asdict(self), allow_nan=False).encode() + b"\n"


def parse_sample(line: bytes) -> SystemSample | None:
    """Return the sample of a line; None if a kill has torn it, or a later version wrote it."""
    try:
        data: dict[str, Any] = json.loads(line)
        return SystemSample(
            time=data["time"],
            attempt=data["attempt"],
            node=data["node"],
            gpus=tuple(data["gpus"]),
            metrics=data["metrics"],
            totals=SystemTotals(**data["totals"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


class SampleReader:
    """Reads the samples of a run as they come, those after a time.

    Args:
        after: Unix time in seconds.
    """

    def __init__(self, folder: RunFolder, *, after: float) -> None:
        self.last_time = after
        """Of the last sample that was read."""
        self._path = folder.system
        self._file = (0, 0)  # inode, and how far it was read

    def read(self) -> list[SystemSample]:
        """Return the samples that are new; none if the file is missing.

        Raises:
            OSError: It cannot be read at present.
        """
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                inode, offset = self._file
                if inode != status.st_ino or offset > status.st_size:
                    offset = 0  # it was thinned out since
                file.seek(offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._file = (status.st_ino, offset + len(whole))
        samples = [sample for line in whole.splitlines() if (sample := parse_sample(line))]
        new = [sample for sample in samples if sample.time > self.last_time]
        self.last_time = max((sample.time for sample in new), default=self.last_time)
        return new


def last_sample(folder: RunFolder) -> SystemSample | None:
    """Return the last sample of a run; None without one.

    Raises:
        OSError: The file cannot be read at present.
    """
    try:
        with folder.system.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    return next((sample for line in reversed(lines) if (sample := parse_sample(line))), None)
