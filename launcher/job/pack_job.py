"""What submitit calls in a job: the path of a pack, nothing more."""

from __future__ import annotations

import logging
import os
import signal

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.node import ThisNode
from launcher.job.node_supervisor import NodeSupervisor
from launcher.job.pack import Pack, read_pack
from launcher.job.slots import Slots, slots_folder
from launcher.job.stop_request import SignalStop
from trainers.run.lease import Lease
from trainers.stop_flag import StopFlag


def run_pack(path: str) -> None:
    """Supervise a pack until its members have ended; submitit's signal handlers are set aside."""
    stop = StopFlag()
    stop.listen()
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    logging.getLogger("submitit").propagate = False
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s: %(message)s")
    folder = PackFolder(path)
    pack = read_pack(folder)
    if pack.slurm:
        from launcher.job.slurm_supervisor import run_slurm_pack

        run_slurm_pack(folder, pack, pack.slurm, stop, run_pack)
    else:
        _run_locally(folder, pack, stop)


def _run_locally(folder: PackFolder, pack: Pack, stop: StopFlag) -> None:
    """The lease is taken last: who sees it held knows that the job has come up."""
    assert pack.machine is not None
    supervisor = NodeSupervisor(
        folder,
        pack,
        Slots(pack.machine, slots_folder()),
        node=ThisNode(name=os.uname().nodename, job=f"local {os.getpid()}"),
        stop=SignalStop(stop, pack.grace_s),
    )
    with Lease.take(folder.lease, owner=folder.name, attempt=0):
        supervisor.run()
