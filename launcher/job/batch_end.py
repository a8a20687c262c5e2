"""`python -m launcher.job.batch_end PACK_FOLDER STATUS [LINE]`: requeue a job if its step did not.

The batch script runs this when the step of the node supervisor exited without recording its end,
as after a SIGKILL, when it could not requeue the job, or when LINE of the setup failed. Otherwise
the job would end, and nothing would requeue it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from attrs import frozen

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.bad_nodes import NodeFailure, NodeFailureKind, note_node_failure
from launcher.job.bookkeeping import PackRecords
from launcher.job.failed_setup import end_failed_setup
from launcher.job.node import ThisNode, this_slurm_node
from launcher.job.pack import (
    Pack,
    PackEventKind,
    SubmittedJob,
    patiently,
    read_job,
    read_pack,
    read_pack_events,
)
from launcher.job.pack_job import run_pack
from launcher.job.record_end import count_finished, read_tail
from launcher.job.requeue import JobRequeue
from launcher.job.unfinished_members import mark_ended, unfinished
from launcher.notify.notifier import Notifier
from launcher.notify.run_ends import GIVEN_UP
from launcher.slurm.submit import MAX_FAILED_STARTS
from trainers.run.lease import LeaseRecord, read_lease
from trainers.run.run_state import Status
from trainers.stop_flag import SIGNALS

logger = logging.getLogger(__name__)

_STOP_STATUSES = tuple(128 + signum for signum in SIGNALS)
"""Exit statuses that a shell reports for a step that was ended by a stop signal."""
_TAIL_BYTES = 4096

_WRITE_TIMEOUT_S = 10.0


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s: %(message)s")
    folder, status = PackFolder(sys.argv[1]), int(sys.argv[2])
    setup_line = int(sys.argv[3]) if len(sys.argv) > 3 else None
    try:
        pack = patiently(partial(read_pack, folder))
        submitted = patiently(partial(read_job, folder))
        earlier = patiently(lambda: list(read_pack_events(folder)))
    except (OSError, ValueError) as error:
        logger.error("the job is not requeued, since its pack cannot be read: %s", error)
        return status
    node = this_slurm_node(os.environ, resubmissions=submitted.resubmissions if submitted else 0)
    if not _is_superseded(folder, submitted, node):
        records = PackRecords(folder)
        if setup_line is None:
            is_requeued = _end(folder, pack, records, node, status, earlier)
        else:
            is_requeued = end_failed_setup(
                folder, pack, records, node, earlier, line=setup_line, status=status
            )
        records.close(_WRITE_TIMEOUT_S)
        if not is_requeued:
            Notifier(folder.experiment).close(*(member.name for member in pack.members))
    return status


def _end(
    folder: PackFolder,
    pack: Pack,
    records: PackRecords,
    node: ThisNode,
    status: int,
    earlier: Sequence[dict[str, Any]],
) -> bool:
    """Requeue the job, or give it up if its starts keep failing; return whether it runs again."""
    assert pack.slurm is not None
    requeue = JobRequeue(folder, records, pack.slurm, node, run_pack)
    failure = failed_start(folder, earlier, node) if status else None
    where = {"node": failure.node, "error": failure.error} if failure else {}
    records.put_event(PackEventKind.STEP_ENDED, job=node.job, status=status, **where)
    this_end = {"event": PackEventKind.STEP_ENDED, "status": status}
    num_failed = count_failed_starts([*earlier, this_end])
    _kill_surviving_supervisor(folder, node)
    left = unfinished(folder, pack.members)
    if failure and num_failed > count_failed_starts(earlier):
        if pack.num_nodes == 1:  # in a larger job it may be another node
            note_node_failure(
                folder.experiment,
                NodeFailure(
                    node=failure.node,
                    kind=NodeFailureKind.FAILED_START,
                    job=node.job,
                    reason=failure.error,
                ),
            )
        why = f"its job could not start on {failure.node}: {failure.error}"
        if num_failed >= MAX_FAILED_STARTS:
            times = f"{GIVEN_UP}its job ended {num_failed} times before any member began"
            reason = f"{times}. The last time: {why}; see {folder.experiment.submitit}"
            mark_ended(folder, left, status=Status.FAILED, reason=reason)
            left = []
        else:
            mark_ended(folder, left, status=Status.WAITING, reason=why)
    is_requeued = bool(left) and requeue.requeue(left)
    if requeue.problem:
        requeue.give_up(left)
    if not left:
        requeue.end_for_good()
    count_finished(folder, pack.members)  # the requeue cannot wait for a disk
    return is_requeued


def _is_superseded(folder: PackFolder, submitted: SubmittedJob | None, node: ThisNode) -> bool:
    """Return whether a later start of the job has the pack: Slurm had given this node up."""
    # Without an id, a submission was begun, and killed with its supervisor: it is made again here.
    if submitted and submitted.job_id and submitted.is_replaced(node.job):
        return True
    lease = _lease(folder)
    return lease is not None and lease.attempt > node.start


def _kill_surviving_supervisor(folder: PackFolder, node: ThisNode) -> None:
    """Kill a supervisor that outlives its step, as on a node that Slurm has lost.

    Its trainers notice (`set_pdeathsig`), checkpoint and exit. Otherwise Slurm would kill it once
    the node is back, and with it the next start of the job on that node.
    """
    lease = _lease(folder)
    if (
        lease
        and lease.attempt == node.start
        and lease.is_on_this_machine
        and lease.is_process_alive
    ):
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(lease.pid, signal.SIGKILL)


@frozen(kw_only=True)
class FailedStart:
    """Why and where the last start of a job has failed."""

    node: str
    error: str


def count_failed_starts(events: Sequence[dict[str, Any]]) -> int:
    """Return how many starts in a row, up to now, have ended before their first member began.

    A start that Slurm stopped with a signal does not count, however early that was.

    Args:
        events: Of the pack, oldest first.
    """
    number = 0
    for event in reversed(events):
        if event["event"] == PackEventKind.BEGAN:
            break
        number += (
            event["event"] == PackEventKind.STEP_ENDED and event["status"] not in _STOP_STATUSES
        )
    return number


def failed_start(
    folder: PackFolder, events: Sequence[dict[str, Any]], node: ThisNode
) -> FailedStart | None:
    """Return why this start of a job, which has just ended, has failed; None if a member began.

    The supervisor itself may have said so. Otherwise it is the last line of submitit's log.

    Args:
        events: Of the pack, oldest first.
        node: That of the batch script.
    """
    ours = [event for event in events if event.get("start") == node.start]
    if any(event["event"] == PackEventKind.BEGAN for event in ours):
        return None
    for event in ours:
        if event["event"] == PackEventKind.START_FAILED:
            return FailedStart(node=event["node"], error=event["error"])
    return FailedStart(node=node.name, error=_last_line(folder, node.job))


def _last_line(folder: PackFolder, job: str) -> str:
    log = folder.experiment.submitit / f"{job}_0_log.out"
    try:
        lines = read_tail(log, num_lines=1, num_bytes=_TAIL_BYTES)
    except OSError:
        lines = []
    return lines[0] if lines else f"nothing is known; see {log}"


def _lease(folder: PackFolder) -> LeaseRecord | None:
    try:
        return patiently(partial(read_lease, folder.lease))
    except OSError as error:
        logger.warning("the lease of the pack cannot be read: %s", error)
        return None


if __name__ == "__main__":
    for signum in SIGNALS:  # Slurm signals a job that is requeued, this process included
        signal.signal(signum, signal.SIG_IGN)
    sys.exit(main())
