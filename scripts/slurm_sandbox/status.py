"""Say what runs."""

from __future__ import annotations

from scripts.slurm_sandbox.cluster import is_up, node_states
from scripts.slurm_sandbox.daemon import running
from scripts.slurm_sandbox.errors import SandboxError
from scripts.slurm_sandbox.folder import Folder
from scripts.slurm_sandbox.options import Options, read_options
from scripts.slurm_sandbox.slurm_commands import slurm


def report(folder: Folder) -> bool:
    """Print it; whether everything is as it should be."""
    options = read_options(folder.options)
    if options is None:
        print(f"no sandbox in {folder.path}: scripts/slurm-sandbox up")
        return False
    print(f"{folder.path}, Slurm {options.release}, ports from {options.port_base}")
    healthy = True
    for name in _daemons(options):
        process = running(folder, name)
        print(f"{name:12} " + (f"process {process.pid}" if process else "DOES NOT RUN"))
        healthy &= process is not None
    if not running(folder, "slurmctld"):
        return False
    try:
        states = node_states(folder)
        print(slurm(folder, "sinfo", "-o", "%12P %6D %10T %20N %G %l").rstrip())
        print(slurm(folder, "squeue", "-o", "%12i %12P %20j %10T %R").rstrip())
    except SandboxError as error:
        print(error)
        return False
    return healthy and all(is_up(states.get(node, "")) for node in options.node_names)


def _daemons(options: Options) -> list[str]:
    database = ["mariadbd", "slurmdbd"] if options.accounting else []
    return ["munged", *database, "slurmctld", *(f"slurmd-{name}" for name in options.node_names)]
