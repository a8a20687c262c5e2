"""How far W&B has come with a run: `wandb.json`, written by whoever reports the run there."""

from __future__ import annotations

import json
import time

import attrs
from attrs import field, frozen

from trainers.run.atomic_write import atomic_write
from trainers.run.run_folder import RunFolder


@frozen(kw_only=True)
class WandbRecord:
    """The contents of `wandb.json`."""

    iteration: int = -1
    """Of the last row that W&B has confirmed; -1 without one."""
    told: str = ""
    """The status that W&B shows since the run was last closed there: `finished`, `failed` or
    `preempted`; empty while it is open."""
    problem: str = ""
    """Why W&B lacks rows, in words; empty if nothing is amiss."""
    time: float = field(factory=lambda: round(time.time(), 3))
    """When this was written: Unix time in seconds."""


_KEYS = {each.name for each in attrs.fields(WandbRecord)}


def read_wandb_record(folder: RunFolder) -> WandbRecord | None:
    """Return how far W&B has come; None if the run was never reported there, or nobody knows.

    Raises:
        OSError: The file cannot be read at present.
    """
    try:
        content = json.loads(folder.wandb_record.read_bytes())
        return WandbRecord(**{key: content[key] for key in _KEYS & content.keys()})
    except (FileNotFoundError, NotADirectoryError, AttributeError, TypeError, ValueError):
        return None


def write_wandb_record(folder: RunFolder, record: WandbRecord) -> None:
    """Replace the record atomically.

    Raises:
        OSError: It cannot be written.
    """
    with atomic_write(folder.wandb_record, fence=folder.fence) as file:
        file.write(json.dumps(attrs.asdict(record)).encode())
