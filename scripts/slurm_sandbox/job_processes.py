"""The processes of jobs, found without asking Slurm."""

from __future__ import annotations

import re
import signal
from collections import defaultdict
from pathlib import Path

from scripts.slurm_sandbox.folder import Folder
from scripts.slurm_sandbox.process import Process, process_of
from scripts.slurm_sandbox.progress import say


def kill_job_processes(folder: Folder) -> None:
    """Kill what is left of the jobs: a step outlives a slurmd that was killed."""
    steps = _steps(folder)
    for process in [*_below(steps), *steps]:
        process.send(signal.SIGKILL)
        process.has_ended_in(5)
        say(f"killed process {process.pid} of a job")


def _steps(folder: Folder) -> list[Process]:
    """The slurmstepd processes; each listens on a socket below the folder."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    spool = f"{folder.path}/spool/"
    inodes = {line.split()[6] for line in lines if spool in line}
    return [process for pid in _pids() if _sockets(pid) & inodes and (process := process_of(pid))]


def _sockets(pid: int) -> set[str]:
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            match = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
            if match:
                found.add(match[1])
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        pass
    return found


def _below(parents: list[Process]) -> list[Process]:
    children = defaultdict(list)
    for pid in _pids():
        children[_parent(pid)].append(pid)
    found, waiting = [], [process.pid for process in parents]
    while waiting:
        below = children[waiting.pop()]
        found += [process for pid in below if (process := process_of(pid))]
        waiting += below
    return found


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]
