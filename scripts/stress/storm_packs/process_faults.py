"""Processes of runs, and of the server of their data, that are killed or stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

from scripts.slurm_sandbox.process import Process, process_of
from scripts.stress.storm_packs.faults import Fault, Faults
from scripts.workloads.processes import children, command_line

WORKER = b"trainers.stream.worker_main"


def kill_rank(storm: Faults) -> Fault:
    life = storm.a_life(may_crash=True)
    return _kill("kill_rank", [storm.a_pid(life)], [life.run])


def kill_worker(storm: Faults) -> Fault:
    life = storm.a_life(may_crash=True, of=storm.round.runs.readers)
    return _kill("kill_worker", [_a_worker(storm, storm.a_pid(life))], [life.run])


def kill_supervisor(storm: Faults) -> Fault:
    pack = storm.a_pack()
    pid = storm.supervisor(pack, storm.draw.randrange(len(pack.nodes)))
    return _kill("kill_supervisor", [pid], pack.members)


def kill_step(storm: Faults) -> Fault:
    pack = storm.a_pack()
    supervisor = storm.supervisor(pack, storm.draw.randrange(len(pack.nodes)))
    lives = [life for life in storm.watch.lives if life.job == pack.job]
    pids = [pid for life in lives for pid in list(life.descriptors)]
    return _kill("kill_step", [supervisor, *pids], pack.members)


def freeze(storm: Faults) -> Fault:
    """One rank; others of its run wait for it."""
    life = storm.a_life()
    pid = storm.a_pid(life)
    return _stop(storm, "freeze", [pid], storm.draw.uniform(1, 8), f"{pid} of {life.run}", life.run)


def stop_job(storm: Faults) -> Fault:
    """All processes of a job, as gang scheduling does."""
    pack = storm.a_pack()
    supervisors = [storm.supervisor(pack, node) for node in range(len(pack.nodes))]
    pids = [pid for each in supervisors for pid in _with_descendants(each)]
    seconds, what = storm.draw.uniform(2, 12), f"{len(pids)} of {pack.job}"
    return _stop(storm, "stop_job", pids, seconds, what, *pack.members)


def hang_worker(storm: Faults) -> Fault:
    """Nobody but the watchdog ends this, which knows by then how long samples take."""
    seen = [
        each for each in storm.round.runs.readers if storm.round.slowest_data_s(each) is not None
    ]
    life = storm.a_life(of=seen)
    pid, began = _a_worker(storm, storm.a_pid(life)), time.time()
    os.kill(pid, signal.SIGSTOP)
    return Fault(kind="hang_worker", time=began, what=f"{pid} of {life.run}", runs=[life.run])


def hang_server(storm: Faults) -> Fault:
    seconds, what = storm.draw.uniform(2, 8), "the data server"
    pid = storm.outside.server.pid
    return _stop(storm, "hang_server", [pid], seconds, what, *storm.round.runs.readers)


def _kill(kind: str, pids: list[int], runs: Iterable[str]) -> Fault:
    began = time.time()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return Fault(kind=kind, time=began, what=" ".join(map(str, pids)), runs=runs)


def _stop(
    storm: Faults, kind: str, pids: list[int], seconds: float, what: str, *runs: str
) -> Fault:
    processes = [each for each in map(process_of, pids) if each]
    if not processes:
        raise ProcessLookupError
    began = time.time()
    _send(processes, signal.SIGSTOP)
    storm.later(began + seconds, lambda: _send(processes, signal.SIGCONT))
    what = f"{what}, for {seconds:.0f} s"
    return Fault(kind=kind, time=began, seconds=seconds, what=what, runs=runs)


def _send(processes: list[Process], number: signal.Signals) -> None:
    for each in processes:
        each.send(number)


def _with_descendants(pid: int) -> list[int]:
    return [pid, *(each for child in children(pid) for each in _with_descendants(child))]


def _a_worker(storm: Faults, rank: int) -> int:
    workers = [pid for pid in children(rank) if WORKER in command_line(pid)]
    if not workers:
        raise ProcessLookupError
    return storm.draw.choice(sorted(workers))
