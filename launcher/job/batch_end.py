"""`python -m launcher.job.batch_end PACK_FOLDER STATUS`: requeue a job whose supervisor died.

The batch script runs this when the step of the node supervisor exited without recording its end,
as after a SIGKILL. Otherwise the job would end and nothing would requeue it.
"""

from __future__ import annotations

import os
import signal
import sys

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.bad_nodes import NodeFailure, NodeFailureKind, note_node_failure
from launcher.job.node import ThisNode, this_slurm_node
from launcher.job.pack import (
    Pack,
    PackEventKind,
    SubmittedJob,
    append_pack_event,
    read_job,
    read_pack,
    read_pack_events,
)
from launcher.job.pack_job import run_pack
from launcher.job.record_end import count_finished
from launcher.job.requeue import requeue_pack
from launcher.job.unfinished_members import mark_ended, unfinished
from trainers.run.lease import read_lease
from trainers.run.run_state import Status
from trainers.stop_flag import SIGNALS

MAX_FAILED_STARTS = 5
"""Steps in a row that may exit on their own before their supervisor has started."""
_STOP_STATUSES = tuple(128 + signum for signum in SIGNALS)
"""Exit statuses that a shell reports for a step that was ended by a stop signal."""


def main() -> int:
    folder, status = PackFolder(sys.argv[1]), int(sys.argv[2])
    pack, submitted = read_pack(folder), read_job(folder)
    assert pack.slurm is not None
    node = this_slurm_node(os.environ, resubmissions=submitted.resubmissions if submitted else 0)
    if _is_superseded(folder, submitted, node):
        return status
    append_pack_event(folder, PackEventKind.STEP_ENDED, job=node.job, status=status)
    failed_starts = count_failed_starts(folder)
    _blame_node(folder, pack, node, status)
    _kill_surviving_supervisor(folder, node)
    count_finished(folder, pack.members)
    if failed_starts > MAX_FAILED_STARTS:
        log = folder.experiment.submitit
        reason = f"given up: its job ended {failed_starts} times before it began; see {log}"
        mark_ended(folder, pack.members, status=Status.FAILED, reason=reason)
    elif left := unfinished(folder, pack.members):
        requeue_pack(folder, pack.slurm, node, left, run_pack)
    return status


def _blame_node(folder: PackFolder, pack: Pack, node: ThisNode, status: int) -> None:
    """Note a failure of the node if no supervisor has started there."""
    has_started = any(
        event["event"] == PackEventKind.STARTED
        and (event.get("job"), event.get("start")) == (node.job, node.start)
        for event in read_pack_events(folder)
    )
    # In a job over several nodes it is not known on which one the start failed.
    if has_started or status in _STOP_STATUSES or pack.num_nodes > 1:
        return
    failure = NodeFailure(
        node=node.name,
        kind=NodeFailureKind.FAILED_START,
        job=node.job,
        reason=f"exit code {status}; see {folder.experiment.submitit}",
    )
    note_node_failure(folder.experiment, failure)


def count_failed_starts(folder: PackFolder) -> int:
    """Return how many steps in a row, up to now, exited before their supervisor had started.

    A step that Slurm stopped with a signal does not count, however early that was.
    """
    number = 0
    for event in reversed(list(read_pack_events(folder))):
        if event["event"] == PackEventKind.STARTED:
            break
        number += (
            event["event"] == PackEventKind.STEP_ENDED and event["status"] not in _STOP_STATUSES
        )
    return number


def _is_superseded(folder: PackFolder, submitted: SubmittedJob | None, node: ThisNode) -> bool:
    """Return whether a later start of the job has the pack: Slurm had given this node up."""
    if submitted and submitted.is_replaced(node.job):
        return True
    lease = read_lease(folder.lease)
    return lease is not None and lease.attempt > node.start


def _kill_surviving_supervisor(folder: PackFolder, node: ThisNode) -> None:
    """Kill a supervisor that outlives its step, as on a node that Slurm has lost.

    Its trainers notice (`set_pdeathsig`), checkpoint and exit. Otherwise Slurm would kill it once
    the node is back, and with it the next start of the job on that node.
    """
    lease = read_lease(folder.lease)
    if (
        lease
        and lease.attempt == node.start
        and lease.is_on_this_machine
        and lease.is_process_alive
    ):
        os.kill(lease.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
