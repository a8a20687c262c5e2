"""Which runs have rows that W&B does not have yet."""

from __future__ import annotations

from functools import partial

from attrs import frozen

from launcher.os_errors import PatientReader
from trainers.run.lease import is_live
from trainers.run.metric_rows import last_iteration_of
from trainers.run.run_folder import RunFolder
from trainers.run.wandb_record import read_wandb_record


@frozen(kw_only=True)
class WandbLag:
    """The rows of a run that W&B lacks, while nobody reports the run there."""

    after: int
    """Of the last row that W&B has confirmed; -1 without one."""
    last: int
    """Of the last row that there is."""
    problem: str = ""
    """Why, if W&B has refused them or could not be reached."""


def wandb_lag(run: RunFolder, reader: PatientReader, *, now: float) -> WandbLag | None:
    """Return which rows W&B lacks; None if it has all, will have them, or is not to have any.

    Args:
        now: From `file_system_time`.
    """
    try:
        record = reader.read(partial(read_wandb_record, run))
        if record is None:
            return None
        last = reader.read(partial(last_iteration_of, run.metrics))
        if last <= record.iteration or reader.read(partial(is_live, run.wandb_lease, now=now)):
            return None
    except OSError:  # a view of a run, not a part of it
        return None
    return WandbLag(after=record.iteration, last=last, problem=record.problem)
