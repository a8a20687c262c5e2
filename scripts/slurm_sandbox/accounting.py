"""The database behind sacct: MariaDB, slurmdbd, and an account that may use every QOS."""

from __future__ import annotations

import subprocess

from scripts.slurm_sandbox import daemons
from scripts.slurm_sandbox.configuration import CLUSTER
from scripts.slurm_sandbox.daemon import Daemon, last_words, stop
from scripts.slurm_sandbox.errors import SandboxError
from scripts.slurm_sandbox.folder import Folder
from scripts.slurm_sandbox.machine import check_port, listens
from scripts.slurm_sandbox.options import Options
from scripts.slurm_sandbox.progress import say, wait_until
from scripts.slurm_sandbox.slurm_commands import slurm, succeeds

SQL = (
    "create database if not exists slurm_acct_db;"
    "create user if not exists slurm@'127.0.0.1' identified by 'slurm';"
    "grant all on slurm_acct_db.* to slurm@'127.0.0.1';"
)


def bring_up(options: Options, folder: Folder, host: str) -> None:
    database = daemons.mariadbd(options, folder)
    if not database.is_as_wanted(folder):
        stop(folder, "slurmdbd")
        stop(folder, database.name)
        _start_database(database, options, folder)
    daemon = daemons.slurmdbd(options, folder, host)
    if not daemon.is_as_wanted(folder):
        stop(folder, daemon.name)
        check_port(options.accounting_port, daemon.name)
        daemon.start(folder)
        wait_until(
            lambda: (
                listens(options.accounting_port)
                and succeeds(folder, "sacctmgr", "-n", "-i", "list", "cluster")
            ),
            "slurmdbd answers",
            timeout_s=90,
            why_not=lambda: last_words(folder, daemon.name),
        )
        say("slurmdbd answers")
    _once(folder, "accounts", "1", _ACCOUNTS)
    _once(folder, "grace", str(options.grace), _grace(options.grace))


def limit(folder: Folder) -> None:
    """Slurmdbd learns from slurmctld that there are GPUs, so this comes after that has started."""
    _once(folder, "limits", "1", _LIMITS)


def take_down(folder: Folder) -> None:
    stop(folder, "slurmdbd")
    stop(folder, "mariadbd")


def _start_database(daemon: Daemon, options: Options, folder: Folder) -> None:
    check_port(options.database_port, daemon.name)
    if not (folder.database / "mysql").exists():
        with folder.log("mariadb-install-db").open("wb") as log:
            command = ["mariadb-install-db", "--no-defaults", "--user=root"]
            command += [f"--datadir={folder.database}", "--skip-test-db", "--skip-name-resolve"]
            command += ["--auth-root-authentication-method=socket"]
            subprocess.run(command, stdout=log, stderr=log, check=True)
        say("MariaDB has a data folder")
    daemon.start(folder)
    client = ["mariadb", "--no-defaults", f"--socket={folder.database_socket}", "-uroot"]
    wait_until(
        lambda: subprocess.run([*client, "-e", SQL], capture_output=True).returncode == 0,
        "MariaDB answers",
        timeout_s=90,
        why_not=lambda: last_words(folder, daemon.name),
    )
    say("MariaDB answers")


_ACCOUNTS = [
    f"add cluster {CLUSTER}",
    f"add account sandbox Cluster={CLUSTER} Description=sandbox Organization=sandbox",
    "add qos low Priority=1 PreemptMode=requeue",
    "modify qos normal set PreemptMode=requeue",
    "add qos high Priority=100 Preempt=low,normal",
    "add user root Account=sandbox DefaultAccount=sandbox",
    "modify user root where account=sandbox set qos=normal,low,high defaultqos=normal",
]
"""Root may submit with every QOS; `high` preempts the other two."""

_LIMITS = [
    "add qos capped Priority=1 PreemptMode=requeue",
    "modify qos capped set MaxTRESPerJob=gres/gpu=2 MaxTRESPerUser=gres/gpu=3",
    "modify user root where account=sandbox set qos+=capped",
]


def _grace(seconds: int) -> list[str]:
    return [f"modify qos {name} set GraceTime={seconds}" for name in ("low", "normal")]


def _once(folder: Folder, name: str, value: str, requests: list[str]) -> None:
    """The database keeps what sacctmgr has told it: ask again only for another value."""
    done = folder.database / f"{name}.done"
    if done.exists() and done.read_text() == value:
        return
    for request in requests:
        try:
            slurm(folder, "sacctmgr", "-iQ", *request.split())
        except SandboxError as error:
            if not any(words in str(error) for words in ("Nothing new added", "already exists")):
                raise
    done.write_text(value)
    say(f"slurmdbd knows the {name}")
