"""Find, read and follow the logs of a run: one per rank and attempt, and that of its job."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen

from launcher.errors import LauncherError
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.pack import read_job
from trainers.run.backoff import retry
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import read_state

_NAME = re.compile(r"attempt-(\d+)\.rank-(\d+)\.log")
_MAX_LISTED = 20
_OUTAGE_S = 120.0
"""How long following a log waits for a file system that does not answer."""

T = TypeVar("T")


@frozen(kw_only=True)
class RunLog:
    """The log of one rank of one attempt."""

    path: Path
    attempt: int
    rank: int


@frozen(kw_only=True)
class JobLog:
    """The output of a job, of no attempt and no rank."""

    path: Path
    attempt: None = None
    rank: None = None


def find_job_log(run: RunFolder) -> JobLog | None:
    """Return the output of the job that has the run, or had it last; None if it has none.

    It holds what Slurm, the batch script and the supervisor printed: all there is if the job ended
    before it began an attempt.
    """
    state = read_state(run)
    return job_log_of(ExperimentFolder.of_run(run).pack(state.pack)) if state.pack else None


def job_log_of(pack: PackFolder) -> JobLog | None:
    """Return the output of a pack's job; None if there is none, or which job it is is damaged."""
    try:
        job = read_job(pack)
    except (TypeError, ValueError):
        return None
    path = job_output(pack, job.job_id if job else "")
    return JobLog(path=path) if path else None


def job_output(pack: PackFolder, job_id: str) -> Path | None:
    """Return the output of a pack's job, as submitit names it; None if there is none.

    Args:
        job_id: Empty for a local job.
    """
    if job_id:
        name = pack.experiment.submitit / f"{job_id}_0_log"
        paths = [name.with_name(f"{name.name}.{end}") for end in ("out", "err")]
    else:
        newest_first = sorted(pack.submitit.glob("*_0_log.out"), key=_written, reverse=True)
        paths = [*newest_first, pack.start_log]
    return next((path for path in paths if path.exists()), None)


def _written(path: Path) -> float:
    return path.stat().st_mtime


def find_logs(run: RunFolder) -> list[RunLog]:
    """Return all logs of a run, sorted by attempt and rank."""
    matches = ((_NAME.fullmatch(path.name), path) for path in run.logs.glob("attempt-*.log"))
    found = sorted((int(match[1]), int(match[2]), path) for match, path in matches if match)
    return [RunLog(path=path, attempt=attempt, rank=rank) for attempt, rank, path in found]


def choose_log(run: RunFolder, *, attempt: int | None, rank: int) -> RunLog | JobLog:
    """Return the log of a rank; that of the job if no attempt has begun.

    Args:
        attempt: None for the newest one.

    Raises:
        LauncherError: There is no such log; the message lists the available ones.
    """
    logs = find_logs(run)
    if not logs:
        if attempt is None and (log := find_job_log(run)):
            return log
        raise LauncherError(
            f"{run.name} has no logs, since no attempt has begun; see "
            f"`launch explain {run.path}`, or wait for one with -f"
        )
    attempts = sorted({log.attempt for log in logs})
    if attempt is None:
        attempt = attempts[-1]
    elif attempt not in attempts:
        raise LauncherError(f"{run.name} has no attempt {attempt}; available: {_listed(attempts)}")
    ranks = {log.rank: log for log in logs if log.attempt == attempt}
    if rank not in ranks:
        raise LauncherError(
            f"attempt {attempt} of {run.name} has no rank {rank}; available: {_listed(list(ranks))}"
        )
    return ranks[rank]


def choose_job_log(run: RunFolder) -> JobLog:
    """Return the log of the job that has the run.

    Raises:
        LauncherError: There is none.
    """
    if log := find_job_log(run):
        return log
    raise LauncherError(
        f"{run.name} has no job that has printed anything; see `launch explain {run.path}`"
    )


def read_log(log: RunLog | JobLog) -> str:
    """Return the text of a log; bytes that are not UTF-8 are replaced."""
    return log.path.read_bytes().decode(errors="replace")


def log_json(run: RunFolder, log: RunLog | JobLog) -> dict[str, Any]:
    """Return a log and the list of all logs as plain data, for `launch logs --json`."""
    return {
        "name": run.name,
        "folder": str(run.path),
        "attempt": log.attempt,
        "rank": log.rank,
        "path": str(log.path),
        "text": read_log(log),
        "logs": [
            {"attempt": each.attempt, "rank": each.rank, "path": str(each.path)}
            for each in find_logs(run)
        ],
    }


def follow(
    run: RunFolder,
    *,
    attempt: int | None,
    rank: int,
    is_over: Callable[[], bool],
    poll_s: float = 0.5,
) -> Iterator[RunLog | str]:
    """Yield a log, then its text as it grows; then the same for each later attempt.

    Args:
        attempt: The attempt to start with; None for the newest.
        is_over: Returns whether nothing more is to come.

    Raises:
        OSError: The logs cannot be read, and an outage was waited out in vain.
    """
    log: RunLog | None = None
    text = _GrowingText()
    while True:
        over = is_over()  # before the logs are read: what comes after the last read would be lost
        later = _waiting_out(partial(_later_logs, run, log, attempt, rank))
        if log and (new := _waiting_out(partial(text.more, log.path))):
            yield new
        for log in later:
            yield log
            text = _GrowingText()
            if new := _waiting_out(partial(text.more, log.path)):
                yield new
        if over:
            return
        if not later:
            time.sleep(poll_s)


def _waiting_out(attempt: Callable[[], T]) -> T:
    return retry(attempt, timeout_s=_OUTAGE_S)


def _later_logs(run: RunFolder, log: RunLog | None, attempt: int | None, rank: int) -> list[RunLog]:
    """Return the logs after `log`; without one, the newest, or those from `attempt` on."""
    logs = [each for each in find_logs(run) if each.rank == rank]
    if log:
        return [each for each in logs if each.attempt > log.attempt]
    if attempt is None:
        return logs[-1:]
    return [each for each in logs if each.attempt >= attempt]


def _listed(numbers: list[int]) -> str:
    if len(numbers) > _MAX_LISTED and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))


class _GrowingText:
    """The text of a file that is still being written."""

    def __init__(self) -> None:
        self._done = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def more(self, path: Path) -> str:
        """Return the text that was added since the last call, perhaps none."""
        with path.open("rb") as file:
            file.seek(self._done)
            new = file.read()
        self._done += len(new)
        return self._decoder.decode(new)
