"""What the sandbox asks of the machine: programs, root, names that resolve, free ports."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
from pathlib import Path

from scripts.slurm_sandbox.daemon import PATH
from scripts.slurm_sandbox.errors import CannotHereError, SandboxError
from scripts.slurm_sandbox.release import search_path

HOSTS = Path("/etc/hosts")
PROGRAMS = ["slurmctld", "slurmd", "scontrol", "munged"]
ACCOUNTING_PROGRAMS = ["slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db"]


def check_programs(accounting: bool, release: str) -> None:
    path = search_path(release, PATH)
    wanted = PROGRAMS + ACCOUNTING_PROGRAMS * accounting
    missing = [name for name in wanted if not shutil.which(name, path=path)]
    if missing:
        raise CannotHereError(
            f"not installed: {', '.join(missing)}. On Debian, 'sudo scripts/setup-slurm' installs "
            "them; elsewhere install Slurm, munge and MariaDB."
        )


def slurm_version() -> str:
    """Of the Slurm that is installed; "" without one."""
    program = shutil.which("slurmctld", path=PATH)
    if program is None:
        return ""
    return subprocess.run([program, "-V"], capture_output=True, text=True).stdout.strip()


def check_root() -> None:
    if os.geteuid() != 0:
        raise CannotHereError(
            "only root can start Slurm's daemons. Use 'sudo scripts/slurm-sandbox ...', "
            "or a container in which you are root."
        )


def check_port(port: int, daemon: str) -> None:
    """For a daemon that is about to start."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SandboxError(
                f"{daemon} needs port {port}, and that is in use by something else ({error}). "
                "Choose other ports: --port-base 20000"
            ) from error


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def host() -> str:
    return socket.gethostname().partition(".")[0]


def name_nodes(nodes: list[str], mark: str) -> None:
    """Let the nodes, and this machine, mean 127.0.0.1.

    Jobs look up where their rank 0 runs, and Slurm listens where the name of the machine leads.
    """
    names = [socket.gethostname(), *nodes]
    _rewrite_hosts([f"127.0.0.1 {name} {mark}" for name in names], mark)


def forget_nodes(mark: str) -> None:
    _rewrite_hosts([], mark)


def _rewrite_hosts(ours: list[str], mark: str) -> None:
    """In place: containers mount this file, so that it cannot be replaced."""
    with HOSTS.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = file.read().splitlines()
        if [line for line in lines if line.endswith(mark)] == ours:
            return
        others = [line for line in lines if not line.endswith(mark)]
        file.seek(0)
        file.write("".join(line + "\n" for line in ours + others))
        file.truncate()
