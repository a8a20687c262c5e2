"""`python -m launcher.job.batch_end PACK_FOLDER STATUS`: after a step that left no last word.

The batch script asks for it when the node supervisor was killed: the job would end, and nobody
would bring it back.
"""

from __future__ import annotations

import os
import signal
import sys

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.node import ThisNode, this_slurm_node
from launcher.job.pack import (
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
from launcher.job.unfinished_members import settle, unfinished
from trainers.run.lease import read_lease
from trainers.run.run_state import Status
from trainers.stop_flag import SIGNALS

MAX_IN_VAIN = 5
"""Steps in a row that may end by themselves before their supervisor has come up."""
_TOLD_TO_STOP = tuple(128 + signum for signum in SIGNALS)
"""Exit statuses that the shell gives."""


def main() -> int:
    folder, status = PackFolder(sys.argv[1]), int(sys.argv[2])
    pack, submitted = read_pack(folder), read_job(folder)
    assert pack.slurm is not None
    node = this_slurm_node(os.environ, resubmissions=submitted.resubmissions if submitted else 0)
    if _is_outdated(folder, submitted, node):
        return status
    append_pack_event(folder, PackEventKind.STEP_ENDED, job=node.job, status=status)
    in_vain = steps_in_vain(folder)
    _end_survivor(folder, node)
    count_finished(folder, pack.members)
    if in_vain > MAX_IN_VAIN:
        log = folder.experiment.submitit
        reason = f"given up: its job ended {in_vain} times before it began; see {log}"
        settle(folder, pack.members, status=Status.FAILED, reason=reason)
    elif left := unfinished(folder, pack.members):
        requeue_pack(folder, pack.slurm, node, left, run_pack)
    return status


def _is_outdated(folder: PackFolder, submitted: SubmittedJob | None, node: ThisNode) -> bool:
    """Whether a later start has the pack, since this node counted as lost."""
    if submitted and submitted.is_replaced(node.job):
        return True
    lease = read_lease(folder.lease)
    return lease is not None and lease.attempt > node.start


def _end_survivor(folder: PackFolder, node: ThisNode) -> None:
    """Kill a supervisor that outlives its step, as on a node that Slurm has lost; its runs save.

    Slurm would kill it once the node is back, and with it the next start of the job there.
    """
    lease = read_lease(folder.lease)
    if lease and lease.attempt == node.start and lease.is_here and lease.process_lives:
        os.kill(lease.pid, signal.SIGKILL)


def steps_in_vain(folder: PackFolder) -> int:
    """How many steps have ended by themselves, up to now, since a supervisor came up last.

    A step that Slurm has told to stop is no fault, however early that was.
    """
    number = 0
    for event in reversed(list(read_pack_events(folder))):
        if event["event"] == PackEventKind.STARTED:
            break
        number += (
            event["event"] == PackEventKind.STEP_ENDED and event["status"] not in _TOLD_TO_STOP
        )
    return number


if __name__ == "__main__":
    sys.exit(main())
