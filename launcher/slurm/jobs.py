"""What Slurm says about jobs."""

from __future__ import annotations

from attrs import frozen

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

QUEUE_COLUMNS = {
    "JobArrayID": 64,
    "State": 32,
    "RestartCnt": 16,
    "TimeLeft": 32,
    "StartTime": 32,
    "Partition": 64,
    "NodeList": 256,
    "Reason": 256,
}
"""Fields of `squeue --Format` and their widths; the width is the only separator that every version
of Slurm knows."""

RECORD_COLUMNS = ("JobID", "State", "ExitCode", "Start", "End", "NodeList")
"""Fields of `sacct --format`."""


@frozen(kw_only=True)
class QueuedJob:
    """A job, or a task of an array, that waits or runs."""

    state: str
    """As Slurm calls it: PENDING, RUNNING, COMPLETING, …"""
    reason: str | None
    """Why it waits."""
    partition: str
    nodes: tuple[str, ...]
    time_left_s: int | None
    restarts: int
    start_estimate: float | None
    """Unix time at which it started, or is expected to."""


@frozen(kw_only=True)
class JobRecord:
    """One attempt at a job, from its start or submission to its requeue or end."""

    state: str
    exit_code: int
    signal: int
    """That ended it; 0 if none did."""
    nodes: tuple[str, ...]
    start: float | None
    end: float | None


@frozen(kw_only=True)
class JobDetails:
    """A job as the controller sees it; for some minutes after its end too."""

    state: str
    reason: str | None
    restarts: int
    may_requeue: bool
    preempt_time: float | None
    """Unix time at which Slurm asked it to give way."""
    start_time: float | None
    end_time: float | None
    """Unix time at which it ended, or ends at the latest."""
    nodes: tuple[str, ...]


def parse_queue(text: str) -> dict[str, QueuedJob]:
    """Jobs by id, such as 12 or 12_3, from `squeue --Format` with the widths above."""
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
        )
        jobs |= dict.fromkeys(expand_array(row["JobArrayID"]), job)
    return jobs


def parse_records(text: str) -> dict[str, list[JobRecord]]:
    """Attempts by job id, oldest first, from `sacct --duplicates --allocations --parsable2`."""
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
    """The first job of `scontrol show job --oneliner`; None if there is none."""
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
            )
    return None


def _reason(word: str) -> str | None:
    return None if word in ("", "None", "(null)") else word
