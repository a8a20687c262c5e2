"""What submitit calls in a job: the path of a pack, nothing more."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import time

from launcher import file_lock
from launcher.experiment_folder import PackFolder
from launcher.node_supervisor import NodeSupervisor
from launcher.pack import read_pack
from launcher.slots import Slots, slots_folder
from trainers.stop_flag import StopFlag


def run_pack(path: str) -> None:
    """Supervise a pack until its members have ended; submitit's signal handlers are set aside.

    The lease is taken last: who sees it held knows that the job has come up.
    """
    logging.getLogger("submitit").propagate = False
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s: %(message)s")
    stop = StopFlag()
    stop.listen()
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    folder = PackFolder(path)
    pack = read_pack(folder)
    supervisor = NodeSupervisor(folder, pack, Slots(pack.machine, slots_folder()))
    with file_lock.hold(folder.lease) as lease:
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "since": round(time.time(), 3)}
        os.truncate(lease, 0)
        os.write(lease, json.dumps(holder).encode())
        supervisor.run(stop)
