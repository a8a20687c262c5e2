"""How far W&B has come with a run: `wandb.json`, written by whoever reports the run there."""

from __future__ import annotations

import json
import time

import attrs
from attrs import field, frozen

from trainers.run.atomic_write import atomic_write
from trainers.run.metric_rows import last_iteration_of
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Status, read_state


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


def told_of(status: Status) -> str:
    """Return what W&B is told of a run in a status: one that is not over is to go on."""
    if status == Status.FINISHED:
        return "finished"
    return "failed" if status.is_over else "preempted"


def is_complete(folder: RunFolder, record: WandbRecord) -> bool:
    """Return whether W&B has all rows and the end of a run.

    Raises:
        TrainerError, OSError: The run's files cannot be read.
    """
    return (
        record.told == told_of(read_state(folder).status)
        and last_iteration_of(folder.metrics) <= record.iteration
    )
