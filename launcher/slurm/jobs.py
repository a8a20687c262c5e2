"""Jobs in Slurm's queue, records and details, and how to parse them."""

from __future__ import annotations

from attrs import field, frozen

from launcher.slurm.parsing import (
    expand_array,
    expand_hosts,
    read_moment,
    read_number,
    read_records,
    read_seconds,
    read_state,
    read_table,
)
from launcher.slurm.tres import Tres, read_tres

QUEUE_COLUMNS = {
    "JobArrayID": 64,
    "State": 32,
    "RestartCnt": 16,
    "TimeLeft": 32,
    "StartTime": 32,
    "Partition": 64,
    "NodeList": 256,
    "Reason": 256,
    "Account": 64,
    "QOS": 64,
}
"""Fields of `squeue --Format` and their widths. Columns of fixed width, as older versions of Slurm
know no separator here."""

RECORD_COLUMNS = ("JobID", "State", "ExitCode", "Start", "End", "NodeList")
"""Fields of `sacct --format`."""


@frozen(kw_only=True)
class QueuedJob:
    """A pending or running job, or task of an array."""

    state: str
    """In Slurm's words: PENDING, RUNNING, COMPLETING, …"""
    reason: str | None
    """Why it is pending."""
    partition: str
    nodes: tuple[str, ...]
    time_left_s: int | None
    restarts: int
    start_estimate: float | None
    """Unix time at which it started, or is expected to."""
    account: str | None = None
    qos: str | None = None


@frozen(kw_only=True)
class JobRecord:
    """One attempt of a job, from its submission or requeue to its requeue or end."""

    state: str
    exit_code: int
    signal: int
    """The one that ended it; 0 if none did."""
    nodes: tuple[str, ...]
    start: float | None
    end: float | None


@frozen(kw_only=True)
class JobDetails:
    """A job as the controller sees it, until some minutes after its end."""

    state: str
    reason: str | None
    restarts: int
    may_requeue: bool
    preempt_time: float | None
    """Unix time at which Slurm preempted it."""
    start_time: float | None
    end_time: float | None
    """Unix time at which it ended, or will end at the latest."""
    nodes: tuple[str, ...]
    partition: str = ""
    account: str | None = None
    qos: str | None = None
    asked: Tres = field(factory=Tres)
    """On all its nodes together."""
    recorded: str = ""
    """How the accounting records say that it ended, while the controller says COMPLETING of any job
    that ends; empty if that is not known, or was not asked."""


def parse_queue(text: str) -> dict[str, QueuedJob]:
    """Parse `squeue --Format` with `QUEUE_COLUMNS`; return jobs by id, such as 12 or 12_3."""
    jobs: dict[str, QueuedJob] = {}
    for line in text.splitlines():
        row: dict[str, str] = {}
        start = 0
        for name, width in QUEUE_COLUMNS.items():
            row[name] = line[start : start + width].strip()
            start += width
        if not row["State"]:
            continue
        job = QueuedJob(
            state=read_state(row["State"]),
            reason=_reason(row["Reason"]),
            partition=row["Partition"],
            nodes=tuple(expand_hosts(row["NodeList"])),
            time_left_s=read_seconds(row["TimeLeft"]),
            restarts=read_number(row["RestartCnt"]) or 0,
            start_estimate=read_moment(row["StartTime"]),
            account=row["Account"] or None,
            qos=row["QOS"] or None,
        )
        jobs |= dict.fromkeys(expand_array(row["JobArrayID"]), job)
    return jobs


def parse_records(text: str) -> dict[str, list[JobRecord]]:
    """Parse `sacct --duplicates --allocations --parsable2`; return attempts by id, oldest first."""
    records: dict[str, list[JobRecord]] = {}
    for row in read_table(text, RECORD_COLUMNS):
        exit_code, _, signal = row["ExitCode"].partition(":")
        record = JobRecord(
            state=read_state(row["State"]),
            exit_code=read_number(exit_code) or 0,
            signal=read_number(signal) or 0,
            nodes=tuple(expand_hosts(row["NodeList"].replace("None assigned", ""))),
            start=read_moment(row["Start"]),
            end=read_moment(row["End"]),
        )
        for job_id in expand_array(row["JobID"]):
            records.setdefault(job_id, []).append(record)
    return records


def parse_details(text: str) -> JobDetails | None:
    """Parse `scontrol show job --oneliner`; return the first job, None if there is none."""
    for job in read_records(text):
        if "JobState" in job:
            return JobDetails(
                state=read_state(job["JobState"]),
                reason=_reason(job.get("Reason", "")),
                restarts=read_number(job.get("Restarts", "")) or 0,
                may_requeue=job.get("Requeue") == "1",
                preempt_time=read_moment(job.get("PreemptTime", "")),
                start_time=read_moment(job.get("StartTime", "")),
                end_time=read_moment(job.get("EndTime", "")),
                nodes=tuple(expand_hosts(job.get("NodeList", ""))),
                partition=job.get("Partition", ""),
                account=_reason(job.get("Account", "")),
                qos=_reason(job.get("QOS", "")),
                asked=read_tres(job.get("ReqTRES") or job.get("TRES", "")),
            )
    return None


def _reason(text: str) -> str | None:
    return None if text in ("", "None", "(null)") else text
