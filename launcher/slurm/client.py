"""The client of Slurm's commands; besides submitit, the only module that runs them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from launcher.environment import for_slurm
from launcher.errors import SlurmError
from launcher.os_errors import sentence
from launcher.slurm.jobs import (
    QUEUE_COLUMNS,
    RECORD_COLUMNS,
    JobDetails,
    JobRecord,
    QueuedJob,
    parse_details,
    parse_queue,
    parse_records,
)
from launcher.slurm.parse_accounting import ACCOUNT_COLUMNS, ASSOCIATION_COLUMNS, QOS_COLUMNS
from launcher.slurm.parse_site import parse_site
from launcher.slurm.parsing import expand_array
from launcher.slurm.site import SlurmSite
from launcher.slurm.this_user import this_user, user_name

_TIMEOUT_S = 30.0
SHORT_TIMEOUT_S = 10.0
"""For calls that are tried again: Slurm's own MessageTimeout."""
_IDS_PER_CALL = 1000
"""Few enough for the kernel's limit on the length of a command line."""
UNUSABLE = re.compile(r"down|drain|fail|maint|unknown|inval|\*", re.IGNORECASE)
"""States of a node in the words of `sinfo`; an asterisk marks one that does not respond."""


def ask_site() -> SlurmSite:
    """Describe the cluster; without the limits of users where there is no accounting.

    Raises:
        SlurmError: Slurm does not answer.
    """
    show = ("--local", "--oneliner")  # of a federation, this cluster alone
    output = {
        "config": _run("scontrol", "show", "config"),
        "partitions": _run("scontrol", "show", "partition", "--all", *show),
        "nodes": _run("scontrol", "show", "node", *show),
        "reservations": _run_or_empty("scontrol", "show", "reservation", "--oneliner"),
    }
    user = this_user()
    site = parse_site(**output, user=user)
    if not site.accounting:
        return site
    cluster = f"cluster={site.cluster_name}"
    queries = {
        "qoses": ("qos", f"format={','.join(QOS_COLUMNS)}"),
        "associations": (
            "assoc",
            "where",
            f"user={user.name}",
            cluster,
            f"format={','.join(ASSOCIATION_COLUMNS)}",
        ),
        "accounts": ("assoc", "where", cluster, "user=", f"format={','.join(ACCOUNT_COLUMNS)}"),
        "default_account": ("user", "where", f"user={user.name}", "format=DefaultAccount"),
    }
    with ThreadPoolExecutor() as threads:
        answers = dict(zip(queries, threads.map(_sacctmgr_show, queries.values()), strict=True))
    return parse_site(**output, user=user, **answers)


def queued_jobs(user: str | None = None) -> dict[str, QueuedJob]:
    """Return the pending and running jobs by id, such as 12, or 12_3 for a task of an array.

    Args:
        user: A name or an id; None is the user of this process.

    Raises:
        SlurmError: Slurm does not answer.
    """
    columns = ",".join(f"{name}:{width}" for name, width in QUEUE_COLUMNS.items())
    return parse_queue(
        _run(
            "squeue",
            "--noheader",
            "--array",
            f"--user={user or user_name()}",
            f"--Format={columns}",
        )
    )


def job_scripts(user: str | None = None) -> dict[str, str]:
    """Return the paths of the batch scripts of jobs by id, also of those that have just ended.

    Args:
        user: As for `queued_jobs`.

    Raises:
        SlurmError: Slurm does not answer.
    """
    # The pending tasks of an array share a line, as there may be thousands. Its columns are as wide
    # as they need to be, unlike those of --Format.
    options = ("--states=all", f"--user={user or user_name()}", "--format=%i %o")
    text = _run("squeue", "--noheader", *options)
    rows = [line.partition(" ") for line in text.splitlines()]
    return {
        job_id: script.strip() for job_ids, _, script in rows for job_id in expand_array(job_ids)
    }


def job_records(
    job_ids: Iterable[str], *, timeout_s: float = _TIMEOUT_S
) -> dict[str, list[JobRecord]]:
    """Return all attempts of jobs, by id, oldest first; empty where there is no accounting.

    Without `--duplicates`, sacct shows only the latest attempt of a requeued job.

    Raises:
        SlurmError: Slurm does not answer.
    """
    wanted = set(job_ids)
    arrays = sorted({job_id.partition("_")[0] for job_id in wanted})
    records: dict[str, list[JobRecord]] = {}
    for start in range(0, len(arrays), _IDS_PER_CALL):
        try:
            text = _run(
                "sacct",
                "--duplicates",
                "--allocations",
                "--noheader",
                "--parsable2",
                f"--jobs={','.join(arrays[start : start + _IDS_PER_CALL])}",
                f"--format={','.join(RECORD_COLUMNS)}",
                timeout_s=timeout_s,
            )
        except SlurmError as error:
            if "accounting storage is disabled" in error.output:
                return {}
            raise
        records |= parse_records(text)
    return {job_id: attempts for job_id, attempts in records.items() if job_id in wanted}


def job_details(job_id: str, *, timeout_s: float = _TIMEOUT_S) -> JobDetails | None:
    """Return a job as the controller sees it; None if the controller has forgotten it.

    It forgets a job some minutes after its end (Slurm's MinJobAge).

    Raises:
        SlurmError: Slurm does not answer.
    """
    show = ("scontrol", "show", "job", job_id, "--oneliner")
    try:
        return parse_details(_run(*show, timeout_s=timeout_s))
    except SlurmError as error:
        if "Invalid job id" in error.output:
            return None
        raise


def requeue(job_id: str) -> None:
    """Requeue a job; success if it is in the queue already, or being requeued.

    Raises:
        SlurmError: It was refused, or Slurm does not answer.
    """
    try:
        _run("scontrol", "requeue", job_id, timeout_s=SHORT_TIMEOUT_S)
    except SlurmError as error:
        if "pending execution" not in error.output:
            raise


def exclude_nodes(job_id: str, nodes: str) -> None:
    """Keep a pending job away from nodes, in place of those that it was kept away from before.

    A user may do so for their own job, also right after its requeue, while its processes still end.

    Args:
        nodes: A list as for `sbatch --exclude`.

    Raises:
        SlurmError: It was refused, as for a job that runs.
    """
    update = ("update", f"JobId={job_id}", f"ExcNodeList={nodes}")
    _run("scontrol", *update, timeout_s=SHORT_TIMEOUT_S)


def usable_nodes(partition: str) -> tuple[str, ...]:
    """Return the nodes of a partition that are not down, drained or failing now.

    Raises:
        SlurmError: Slurm does not answer.
    """
    options = ("--noheader", "--Node", f"--partition={partition}", "--format=%N %T")
    text = _run("sinfo", *options, timeout_s=SHORT_TIMEOUT_S)
    rows = [line.split() for line in text.splitlines()]
    return tuple(
        dict.fromkeys(row[0] for row in rows if len(row) == 2 and not UNUSABLE.search(row[1]))
    )


def forbid_requeue(job_id: str) -> None:
    """Have a job end for good when it ends.

    Raises:
        SlurmError: It was refused, or Slurm does not answer.
    """
    _run("scontrol", "update", f"JobId={job_id}", "Requeue=0", timeout_s=SHORT_TIMEOUT_S)


def cancel(job_ids: Sequence[str], *, only_waiting: bool = False) -> None:
    """Cancel jobs; those that have ended are left alone.

    Args:
        only_waiting: Cancel pending jobs only.

    Raises:
        SlurmError: It was refused.
    """
    options = ["--quiet", *(["--state=PENDING"] if only_waiting else [])]
    for start in range(0, len(job_ids), _IDS_PER_CALL):
        _run("scancel", *options, *job_ids[start : start + _IDS_PER_CALL])


def _sacctmgr_show(what: Sequence[str]) -> str:
    return _run_or_empty("sacctmgr", "--noheader", "--parsable2", "--readonly", "show", *what)


def _run_or_empty(program: str, *arguments: str) -> str:
    """Return the output of a command; empty if it fails, as on sites that forbid it."""
    try:
        return _run(program, *arguments)
    except SlurmError:
        return ""


def _run(program: str, *arguments: str, timeout_s: float = _TIMEOUT_S) -> str:
    """Return the output of a command.

    Raises:
        SlurmError: It failed, is not installed, or timed out.
    """
    command = " ".join((program, *arguments[:3]))
    try:
        result = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=_environment(),
            check=False,
        )
    except FileNotFoundError:
        reason = "no such program; run this where Slurm is, such as on a login node"
        raise SlurmError(command, reason) from None
    except OSError as error:  # it may not be executed, or no process can be started
        raise SlurmError(command, sentence(error)) from None
    except subprocess.TimeoutExpired:
        reason = f"no answer within {timeout_s:g} s; try again when `scontrol ping` answers"
        raise SlurmError(command, reason) from None
    if result.returncode != 0:
        reason = " ".join((result.stderr.strip() or result.stdout.strip()).split())
        raise SlurmError(command, reason or f"exit code {result.returncode}")
    return result.stdout


def _environment() -> dict[str, str]:
    # By default Slurm cuts the list of an array's tasks, as in 12_[0-9,…], after 64 characters.
    return {**for_slurm(os.environ), "SLURM_BITSTR_LEN": "0"}
