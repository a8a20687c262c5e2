"""What happened to the job of a pack: one JSON line each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.event_lines import read_events


def append_pack_event(folder: PackFolder, kind: str, **details: Any) -> None:
    """Add a line, with the wall-clock time in seconds."""
    line = json.dumps({"time": round(time.time(), 3), "event": kind, **details})
    with folder.events.open("ab", buffering=0) as file:
        file.write(line.encode() + b"\n")


def read_pack_events(folder: PackFolder) -> Iterator[dict[str, Any]]:
    """All whole lines, oldest first."""
    return read_events(folder.events)
