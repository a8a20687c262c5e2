"""Open the metric writers of a run."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from trainers.config.converter import to_plain
from trainers.metrics.json_lines_writer import JsonLinesWriter
from trainers.metrics.metric_writer import IntervalWriter, MetricWriter, MultiWriter
from trainers.metrics.row_feed import UPLOAD_PATIENCE_S, RowFeed
from trainers.metrics.row_transfer import OpenService
from trainers.metrics.system_metrics import SystemMetrics
from trainers.metrics.turns import Turns
from trainers.metrics.wandb_process import clean_environment, kill_service
from trainers.metrics.wandb_reporter import WandbReporter
from trainers.run.lease import read_lease
from trainers.run.record_writer import RecordWriter
from trainers.run.run_record import RunRecord

if TYPE_CHECKING:
    from trainers.config.run_config import RunConfig

_RECORD_TIMEOUT_S = 60.0
"""What stays unwritten for longer costs W&B; within the time in which W&B may fall behind."""


def open_metric_writer(
    config: RunConfig,
    record: RunRecord,
    *,
    start_iteration: int,
    state: Mapping[str, Any] | None = None,
) -> MetricWriter:
    """Open the writer of an attempt that starts at `start_iteration`: metrics.jsonl, and W&B if on.

    The caller waits for neither of them; failures are logged and not raised.

    Args:
        state: `MetricWriter.state_dict` of the checkpoint that the attempt resumes from.
    """
    # A thread of its own: a checkpoint waits for its rows, and must not wait for state and events.
    records = RecordWriter(name="metrics")
    lines = JsonLinesWriter(record.folder, records, start_iteration=start_iteration)
    system = SystemMetrics(record.folder, records, attempt=record.state.num_attempts)
    writers: list[MetricWriter] = [system, lines]
    if config.wandb.mode != "disabled":
        writers.append(_open_wandb(config, record, lines, records, start_iteration))
    writer, every = MultiWriter(writers), config.metrics.every_iterations
    return writer if every == 1 else IntervalWriter(writer, every=every, state=state)


def _open_wandb(
    config: RunConfig,
    record: RunRecord,
    lines: JsonLinesWriter,
    records: RecordWriter,
    start_iteration: int,
) -> MetricWriter:
    clean_environment()
    folder = record.folder
    if not record.state.wandb_id:
        record.update(wandb_id=secrets.token_hex(4))
    state = record.state
    mode = config.wandb.mode

    def open_service(was_open: bool) -> OpenService:
        # On the feed's thread: the import takes 0.5 to 0.9 s.
        from trainers.metrics.wandb_details import WandbDetails
        from trainers.metrics.wandb_writer import WandbWriter

        # Before a W&B run has rows: the next attempt must know both its id and which rows it lacks.
        record.flush(_RECORD_TIMEOUT_S)
        records.flush(_RECORD_TIMEOUT_S)
        holder = read_lease(folder.lease)
        return WandbWriter(
            folder,
            mode=mode,
            project=config.wandb.project,
            entity=config.wandb.entity,
            run_id=state.wandb_id,
            name=config.name,
            group=config.experiment,
            config=to_plain(config),
            # Once open, W&B has rows of this attempt only after those.
            last_iteration=None if was_open else lines.last_iteration,
            details=WandbDetails(
                folder, config, attempt=state.num_attempts, start_iteration=start_iteration
            ),
            attempt=state.num_attempts,
            owner=holder.owner if holder else uuid4().hex,
        )

    return RowFeed(
        folder.metrics,
        open_service,
        name="W&B",
        kill=kill_service,
        reporter=WandbReporter(record),
        turns=Turns(folder.wandb_turns if mode == "online" else None),
        finish_patience_s=UPLOAD_PATIENCE_S if config.wandb.upload and mode == "online" else 0.0,
    )
