"""Write a run's folder as a trainer does, in processes that can be stopped anywhere.

Each line on stdin is a command, answered by a line on stdout. Processes are forked, so that torch
is imported only once.

    start ATTEMPT NUM_COMMITS STOP_AT   begin an attempt; the answer is its process id. At the
                                        STOP_AT-th time that the fence has let it pass, it stops
                                        itself with SIGSTOP: the worst moment that there is
    wait PID                            the answer is `stopped`, or its exit status
"""

from __future__ import annotations

import os
import signal
import sys

import attrs
import torch

from trainers import exit_codes
from trainers.checkpoints import CheckpointStore
from trainers.metrics import JsonLinesWriter
from trainers.run.atomic_write import sweep
from trainers.run.lease import Lease
from trainers.run.record_writer import RecordWriter
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import EventKind, RunState, append_event, write_state

IDENTITY = "0123456789abcdef"


def write(folder: RunFolder, attempt: int, num_commits: int, stop_at: int) -> None:
    lease = Lease.take(
        folder.lease,
        owner="pack-0000",
        attempt=attempt,
        on_loss=lambda error: os._exit(exit_codes.NOTHING_TO_DO),
    )
    passed = 0

    def fence() -> None:
        nonlocal passed
        lease.check()
        passed += 1
        if passed == stop_at:
            os.kill(os.getpid(), signal.SIGSTOP)

    folder = attrs.evolve(folder, fence=fence)
    sweep(folder.path, fence)
    store = CheckpointStore(folder.checkpoints, fingerprint=IDENTITY, fence=fence)
    newest = store.newest()
    start = newest.iteration if newest else 0
    metrics = JsonLinesWriter(folder, RecordWriter(), start_iteration=start)
    for iteration in range(start, start + num_commits):
        metrics.write(iteration, {"loss": attempt})
        metrics.sync()
        store.save(iteration + 1, {"weight": torch.full((1000,), float(iteration + 1))})
        write_state(folder, RunState(iteration=iteration + 1))
        append_event(folder, EventKind.CHECKPOINT, attempt=attempt)
    lease.release()


def answer(what: str | int) -> None:
    os.write(1, f"{what}\n".encode())


def main() -> None:
    folder = RunFolder(sys.argv[1])
    for line in sys.stdin:
        command, *words = line.split()
        numbers = [int(word) for word in words]
        if command == "start":
            pid = os.fork()
            if pid == 0:
                write(folder, *numbers)
                os._exit(exit_codes.FINISHED)
            answer(pid)
        else:
            _, status = os.waitpid(numbers[0], os.WUNTRACED)
            answer("stopped" if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
