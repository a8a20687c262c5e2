"""The daemons of a sandbox, in the order in which they start."""

from __future__ import annotations

from scripts.slurm_sandbox.configuration import fixed_part, gres_conf, slurm_conf, slurmdbd_conf
from scripts.slurm_sandbox.daemon import Daemon
from scripts.slurm_sandbox.folder import Folder
from scripts.slurm_sandbox.options import Options
from scripts.slurm_sandbox.release import slurmd_options


def munged(folder: Folder) -> Daemon:
    command = ["munged", "--foreground", "--force", f"--key-file={folder.munge_key}"]
    command += [f"--socket={folder.munge_socket}", f"--log-file={folder.log('munged')}"]
    command += [f"--pid-file={folder.path}/run/munged.pid"]
    command += [f"--seed-file={folder.path}/munge/seed"]
    return Daemon(name="munged", command=tuple(command))


def mariadbd(options: Options, folder: Folder) -> Daemon:
    command = ["mariadbd", "--no-defaults", "--user=root", f"--datadir={folder.database}"]
    command += [f"--socket={folder.database_socket}", f"--log-error={folder.log('mariadbd')}"]
    command += [f"--pid-file={folder.path}/run/mariadbd.pid"]
    command += ["--bind-address=127.0.0.1", f"--port={options.database_port}"]
    command += ["--skip-name-resolve", "--skip-log-bin", "--performance-schema=off"]
    command += ["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M"]
    command += ["--innodb-lock-wait-timeout=900"]  # slurmdbd asks for it
    command += ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0"]
    return Daemon(name="mariadbd", command=tuple(command))


def slurmdbd(options: Options, folder: Folder, host: str) -> Daemon:
    settings = slurmdbd_conf(options, folder, host)
    return Daemon(name="slurmdbd", command=("slurmdbd", "-D"), settings=settings)


def slurmctld(options: Options, folder: Folder, host: str) -> Daemon:
    settings = fixed_part(slurm_conf(options, folder, host)) + gres_conf(options, folder)
    return Daemon(name="slurmctld", command=("slurmctld", "-D", "-i"), settings=settings)


def slurmd(node: str, options: Options, folder: Folder, host: str) -> Daemon:
    settings = slurmctld(options, folder, host).settings
    command = ("slurmd", "-D", "-N", node, *slurmd_options(options.release))
    return Daemon(name=f"slurmd-{node}", command=command, settings=settings)
