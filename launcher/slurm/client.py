"""Ask Slurm; besides submitit, the only module that runs its programs."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from launcher.errors import SlurmError
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
from launcher.slurm.parse_site import ASSOCIATION_COLUMNS, QOS_COLUMNS, parse_site
from launcher.slurm.site import SlurmSite

_TIMEOUT_S = 30
_IDS_PER_CALL = 1000
"""As many as surely fit on a command line."""

_PREFIXES = ("SLURM", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SACCT_", "SACCTMGR_")
_KEPT = ("SLURM_CLUSTERS", "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")
"""What says which cluster to talk to. The other variables with such names change what is asked for
or printed, or describe the job that this process belongs to."""


def user_name() -> str:
    """The user whom Slurm takes this process for, whatever the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def ask_site() -> SlurmSite:
    """The cluster; without the limits of users where there is no accounting.

    Raises:
        SlurmError: Slurm does not answer.
    """
    said = {
        "config": _run("scontrol", "show", "config"),
        "partitions": _run("scontrol", "show", "partition", "--all", "--oneliner"),
        "nodes": _run("scontrol", "show", "node", "--oneliner"),
    }
    site = parse_site(**said)
    if not site.accounting:
        return site
    user, cluster = user_name(), site.cluster_name
    questions = (
        ("qos", f"format={','.join(QOS_COLUMNS)}"),
        (
            "assoc",
            "where",
            f"user={user}",
            f"cluster={cluster}",
            f"format={','.join(ASSOCIATION_COLUMNS)}",
        ),
        ("user", "where", f"user={user}", "format=DefaultAccount"),
    )
    with ThreadPoolExecutor() as at_once:
        qoses, associations, default_account = at_once.map(_accounting, questions)
    return parse_site(
        **said, qoses=qoses, associations=associations, default_account=default_account
    )


def _accounting(what: Sequence[str]) -> str:
    """What `sacctmgr show` prints; nothing if it fails, as on sites that keep it to themselves."""
    try:
        return _run("sacctmgr", "--noheader", "--parsable2", "--readonly", "show", *what)
    except SlurmError:
        return ""


def queued_jobs(user: str | None = None) -> dict[str, QueuedJob]:
    """The jobs that wait or run, by id, such as 12 or 12_3; those of arrays one by one.

    Args:
        user: Whose; None is oneself.

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


def job_records(job_ids: Iterable[str]) -> dict[str, list[JobRecord]]:
    """All attempts at jobs, by id, oldest first; empty where there is no accounting.

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
            )
        except SlurmError as error:
            if "accounting storage is disabled" in error.said:
                return {}
            raise
        records |= parse_records(text)
    return {job_id: attempts for job_id, attempts in records.items() if job_id in wanted}


def job_details(job_id: str) -> JobDetails | None:
    """A job as the controller sees it; None if it has forgotten it, some minutes after its end.

    Raises:
        SlurmError: Slurm does not answer.
    """
    try:
        return parse_details(_run("scontrol", "show", "job", job_id, "--oneliner"))
    except SlurmError as error:
        if "Invalid job id" in error.said:
            return None
        raise


def requeue(job_id: str) -> None:
    """Put a job back into the queue; one that is there, or on its way there, stays.

    Raises:
        SlurmError: It was refused.
    """
    try:
        _run("scontrol", "requeue", job_id)
    except SlurmError as error:
        if "pending execution" not in error.said:
            raise


def cancel(job_ids: Sequence[str], *, only_waiting: bool = False) -> None:
    """End jobs; those that have ended already are left alone.

    Args:
        only_waiting: Leave those alone that have begun.

    Raises:
        SlurmError: It was refused.
    """
    options = ["--quiet", *(["--state=PENDING"] if only_waiting else [])]
    for start in range(0, len(job_ids), _IDS_PER_CALL):
        _run("scancel", *options, *job_ids[start : start + _IDS_PER_CALL])


def _run(program: str, *arguments: str) -> str:
    """What a program prints.

    Raises:
        SlurmError: It failed, is not here, or took too long.
    """
    command = " ".join((program, *arguments[:3]))
    try:
        result = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            env=_environment(),
            check=False,
        )
    except FileNotFoundError:
        said = "no such program; run this where Slurm is, such as on a login node"
        raise SlurmError(command, said) from None
    except subprocess.TimeoutExpired:
        said = f"no answer within {_TIMEOUT_S} s; try again when `scontrol ping` answers"
        raise SlurmError(command, said) from None
    if result.returncode != 0:
        said = " ".join((result.stderr.strip() or result.stdout.strip()).split())
        raise SlurmError(command, said or f"exit code {result.returncode}")
    return result.stdout


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not is_of_job(name)}
    return {**kept, "SLURM_BITSTR_LEN": "0"}  # the tasks of an array, however many, in full


def is_of_job(variable: str) -> bool:
    """Whether an environment variable describes a job, or changes what Slurm's programs do."""
    return variable.startswith(_PREFIXES) and variable not in _KEPT
