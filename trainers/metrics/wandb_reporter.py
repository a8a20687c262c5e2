"""Record what becomes of a run at W&B: in the log, events.jsonl, state.json and wandb.json."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any

import attrs

from trainers.metrics.row_transfer import Reporter
from trainers.metrics.wandb_server import sentence_of
from trainers.run.metric_rows import last_iteration_of
from trainers.run.run_record import RunRecord
from trainers.run.run_state import EventKind
from trainers.run.wandb_record import WandbRecord, read_wandb_record, write_wandb_record

logger = logging.getLogger(__name__)

CONCERN = "W&B"


class WandbReporter(Reporter):
    """Records how far W&B has come, and what keeps it from coming further.

    Nothing here waits for the disk.
    """

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._problem = ""
        self._confirmed: int | None = None
        self._changes: dict[str, Any] = {}
        self._write()  # a run that W&B never answers is known to lack rows there

    def confirmed(self, iteration: int) -> None:
        self._confirmed = iteration
        self._write(iteration=iteration, told="", problem="")

    def has_problem(self, error: BaseException) -> None:
        sentence = sentence_of(error)
        if sentence == self._problem:
            return
        self._problem = sentence
        logger.warning("training continues without W&B: %s", sentence)
        self._record.event(EventKind.WANDB_SILENT, reason=sentence)
        self._record.concerns[CONCERN] = f"W&B lacks rows: {sentence}"
        self._write(problem=sentence)

    def answers(self) -> None:
        if not self._problem:
            return
        self._problem = ""
        logger.info("W&B works again, and gets the rows that it lacks")
        self._record.event(EventKind.WANDB_ANSWERS)
        self._record.concerns.pop(CONCERN, None)
        self._write(problem="")

    def closed(self, *, finished: bool, preempted: bool) -> None:
        self._write(told="finished" if finished else "preempted" if preempted else "failed")

    def ended(self) -> None:
        with suppress(OSError):
            if self._confirmed is not None and self._confirmed < last_iteration_of(
                self._record.folder.metrics
            ):
                logger.warning(
                    "W&B has no rows after iteration %d; `launch sync` sends them, or the next "
                    "attempt",
                    self._confirmed,
                )

    def _write(self, **changes: Any) -> None:
        self._changes = {**self._changes, **changes, "time": round(time.time(), 3)}
        folder, changes = self._record.folder, self._changes

        def write() -> None:
            before = read_wandb_record(folder) or WandbRecord()
            write_wandb_record(folder, attrs.evolve(before, **changes))

        self._record.writer.put(folder.wandb_record, write, replaces=True)
