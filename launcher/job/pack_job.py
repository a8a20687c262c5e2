"""The function that submitit calls in a job.

Slurm replays the first pickle at every start of a job, so it holds the path of a pack and no state.
"""

from __future__ import annotations

import logging
import os
import signal
from functools import partial
from pathlib import Path

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.node import ThisNode
from launcher.job.node_supervisor import NodeSupervisor
from launcher.job.pack import Pack, patiently, read_pack
from launcher.job.slots import Slots
from launcher.job.slots_folder import claims_of_others, slots_folder
from launcher.job.stop_request import SignalStop
from trainers.run.background_log import flush_log, log_in_background
from trainers.run.group_folder import create_for_group
from trainers.run.lease import Lease
from trainers.stop_flag import StopFlag

_LAST_RECORDS_TIMEOUT_S = 10.0


def run_pack(path: str) -> None:
    """Supervise a pack until its members have ended.

    The pickle of every job names this function by its module: keep its name and place.
    """
    # These replace submitit's handlers. Those ignore SIGTERM and SIGCONT; on the user signal they
    # requeue inside the handler, on rank 0 only, and record an error if Slurm has already requeued.
    stop = StopFlag()
    stop.listen()
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    logging.getLogger("submitit").propagate = False  # has its own handlers, would log twice
    log_in_background()
    with create_for_group(Path(path)):
        try:
            _run(PackFolder(path), stop)
        finally:
            flush_log()


def _run(folder: PackFolder, stop: StopFlag) -> None:
    try:
        pack = patiently(partial(read_pack, folder))
    except (OSError, ValueError) as error:
        raise SystemExit(f"{folder.manifest} cannot be read: {error}") from error
    if pack.slurm:
        from launcher.job.slurm_supervisor import run_slurm_pack

        run_slurm_pack(folder, pack, pack.slurm, stop, run_pack)
    else:
        _run_locally(folder, pack, stop)


def _run_locally(folder: PackFolder, pack: Pack, stop: StopFlag) -> None:
    assert pack.machine is not None
    supervisor = NodeSupervisor(
        folder,
        pack,
        Slots(pack.machine, slots_folder(), others=claims_of_others),
        node=ThisNode(name=os.uname().nodename, job=f"local {os.getpid()}"),
        stop=SignalStop(stop, pack.grace_s),
    )
    # The lease is taken last: the submitting process waits for it as the sign of a started job.
    with Lease.take(folder.lease, owner=folder.name, attempt=0):
        supervisor.run()
        supervisor.close_records(_LAST_RECORDS_TIMEOUT_S)
    supervisor.notifier.close(*(member.name for member in pack.members))
