"""Ask runs to end."""

from __future__ import annotations

import os
import signal
import socket

from attrs import frozen

from launcher.status import read_statuses
from launcher.true_state import ENDED
from trainers.run_folder import RunFolder
from trainers.run_lock import is_locked, read_lease
from trainers.run_state import append_event


@frozen(kw_only=True)
class Cancellation:
    """What came of a request."""

    name: str
    folder: str
    outcome: str


def cancel_runs(runs: list[RunFolder]) -> list[Cancellation]:
    """Ask each run to end: one that is trained checkpoints and goes, any other never begins.

    The request is a file, so that a supervisor on another machine sees it too. It stands until the
    run is submitted again.
    """
    return [
        Cancellation(name=run.name, folder=str(run.path), outcome=_cancel(run, status.state))
        for run, status in zip(runs, read_statuses(runs), strict=True)
    ]


def _cancel(run: RunFolder, state: str) -> str:
    if state in ENDED:
        return f"{state} already"
    run.cancel_request.touch()
    append_event(run, "cancel requested")
    if state != "running":
        return "cancelled"
    if pid := _stop_trainer(run):
        return f"process {pid} was asked to checkpoint and go"
    return "its supervisor will ask it to checkpoint and go"


def _stop_trainer(run: RunFolder) -> int | None:
    """The process that was asked to stop; None if no trainer is known on this machine.

    The process is opened before the lock is looked at, so that no other one of its number is hit.
    """
    lease = read_lease(run)
    if lease.get("host") != socket.gethostname():
        return None
    pid = int(lease["pid"])
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        if not is_locked(run) or read_lease(run) != lease:
            return None
        signal.pidfd_send_signal(process, signal.SIGTERM)
    except ProcessLookupError:
        return None
    finally:
        os.close(process)
    return pid
