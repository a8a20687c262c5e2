"""`python -m trainers.metrics.sync_worker`: bring runs to W&B, one after the other.

Reads the folder of a run from each line of stdin, and writes a line of JSON to stdout for each. The
launcher starts some of these, since it may not import wandb: `launcher.monitor.wandb_sync`.
"""

from __future__ import annotations

import ctypes
import json
import logging
import signal
import sys
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

from trainers.config.config_io import read_run_config
from trainers.config.converter import to_plain
from trainers.errors import LeaseHeldError, TrainerError
from trainers.metrics.row_transfer import Reporter, Transfer
from trainers.metrics.wandb_process import clean_environment
from trainers.metrics.wandb_server import sentence_of
from trainers.run.metric_rows import RowReader, last_iteration_of
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Status, read_state
from trainers.run.wandb_record import (
    WandbRecord,
    is_complete,
    read_wandb_record,
    told_of,
    write_wandb_record,
)

_FINISH_TIMEOUT_S = 120.0
"""A login node has time, and W&B may be slow under a load."""
_PR_SET_PDEATHSIG = 1


class Outcome(StrEnum):
    """What became of a run; the texts are those of `launch sync --json`."""

    SYNCED = "synced"
    COMPLETE = "complete"
    """W&B had everything already."""
    OPEN = "open"
    """Its trainer reports it at the moment, or another `launch sync`."""
    DISABLED = "disabled"
    FAILED = "failed"
    UNREADABLE = "unreadable"
    """Its own files cannot be read or written."""


def sync_run(folder: RunFolder) -> dict[str, Any]:
    """Bring a run's config, rows and end to W&B; return what became of it.

    The rows come from metrics.jsonl, from the first one on that the server lacks.

    Raises:
        TrainerError, OSError: The run's files cannot be read or written.
        Exception: W&B fails.
    """
    from trainers.metrics.wandb_details import WandbDetails
    from trainers.metrics.wandb_writer import WandbWriter

    before = read_wandb_record(folder)
    if before is not None and is_complete(folder, before):
        return {"outcome": Outcome.COMPLETE}
    config, state = read_run_config(folder.config), read_state(folder)
    if config.wandb.mode == "disabled" or not state.wandb_id:
        return {"outcome": Outcome.DISABLED}
    last = last_iteration_of(folder.metrics)
    attempt = max(0, state.num_attempts - state.status.is_over)
    service = WandbWriter(
        folder,
        mode="online",
        project=config.wandb.project,
        entity=config.wandb.entity,
        run_id=state.wandb_id,
        name=config.name,
        group=config.experiment,
        config=to_plain(config),
        last_iteration=last,
        details=WandbDetails(folder, config, attempt=attempt, start_iteration=None),
        attempt=attempt,
        owner=uuid4().hex,
        finish_timeout_s=_FINISH_TIMEOUT_S,
    )
    try:
        first = service.last_step
        if last >= 0:
            _transfer(service, folder, state.status)
        else:
            service.close(finished=False, preempted=True)
        confirmed = service.confirmed() if last >= 0 else first
        write_wandb_record(folder, WandbRecord(iteration=confirmed, told=told_of(state.status)))
    finally:
        service.abandon()
    return {"outcome": Outcome.SYNCED, "iteration": confirmed, "after": first}


def _transfer(service: Any, folder: RunFolder, status: Status) -> None:
    closing = Event()
    closing.set()  # what is there now; a run that goes on is brought again
    with RowReader(folder.metrics, after=service.last_step) as rows:
        transfer = Transfer(service, rows, Reporter(), closing)
        transfer.pass_on()
        told = told_of(status)
        transfer.finish(finished=told == "finished", preempted=told == "preempted")


def main() -> None:
    """Sync the runs whose folders come from stdin."""
    # Nobody else would end a transfer whose `launch sync` was killed.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("wandb").setLevel(logging.CRITICAL)  # what fails is in the answer
    clean_environment()
    for line in sys.stdin:
        folder = RunFolder(Path(line.rstrip("\n")))
        try:
            answer = sync_run(folder)
        except LeaseHeldError as error:
            answer = {"outcome": Outcome.OPEN, "reason": str(error)}
        except TrainerError as error:
            answer = {"outcome": Outcome.UNREADABLE, "reason": str(error)}
        except Exception as error:
            answer = {"outcome": Outcome.FAILED, "reason": sentence_of(error)}
        sys.stdout.write(json.dumps({"folder": str(folder.path), **answer}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
