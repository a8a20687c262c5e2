"""What the processes of a run have printed."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from launcher.errors import LauncherError
from trainers.run.run_folder import RunFolder

_NAME = re.compile(r"attempt-(\d+)\.rank-(\d+)\.log")
_MAX_NAMED = 20


@frozen(kw_only=True)
class RunLog:
    """The log of one rank of one attempt."""

    path: Path
    attempt: int
    rank: int


def find_logs(run: RunFolder) -> list[RunLog]:
    """All there are, by attempt and rank."""
    matches = ((path, _NAME.fullmatch(path.name)) for path in run.logs.glob("attempt-*.log"))
    logs = [
        RunLog(path=path, attempt=int(match[1]), rank=int(match[2]))
        for path, match in matches
        if match
    ]
    return sorted(logs, key=lambda log: (log.attempt, log.rank))


def choose_log(run: RunFolder, *, attempt: int | None, rank: int) -> RunLog:
    """The log of a rank in an attempt, or in the newest one.

    Raises:
        LauncherError: There is none; says which there are.
    """
    logs = find_logs(run)
    if not logs:
        raise LauncherError(
            f"{run.name} has no logs, since no attempt has begun; see "
            f"`launch explain {run.path}`, or wait for one with -f"
        )
    attempts = sorted({log.attempt for log in logs})
    if attempt is None:
        attempt = attempts[-1]
    elif attempt not in attempts:
        raise LauncherError(f"{run.name} has no attempt {attempt}; there are: {_listed(attempts)}")
    ranks = {log.rank: log for log in logs if log.attempt == attempt}
    if rank not in ranks:
        raise LauncherError(
            f"attempt {attempt} of {run.name} has no rank {rank}; there are: {_listed(list(ranks))}"
        )
    return ranks[rank]


def _listed(numbers: list[int]) -> str:
    if len(numbers) > _MAX_NAMED and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(map(str, numbers))


def read_log(log: RunLog) -> str:
    return log.path.read_bytes().decode(errors="replace")


def log_json(run: RunFolder, log: RunLog) -> dict[str, Any]:
    """A log as plain data, beside the names of all others."""
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
    """A log, then what is in it and what comes to it; then those of later attempts, as they begin.

    Args:
        attempt: The first one; None begins with the newest.
        is_over: Whether nothing more is to come. It is asked before the last look at the logs.
    """
    log: RunLog | None = None
    text = _Growing()
    while True:
        over = is_over()
        later = _later(run, log, attempt, rank)
        if log:
            yield from text.more(log.path)
        for log in later:
            yield log
            text = _Growing()
            yield from text.more(log.path)
        if over:
            return
        if not later:
            time.sleep(poll_s)


def _later(run: RunFolder, log: RunLog | None, attempt: int | None, rank: int) -> list[RunLog]:
    """The logs that follow one; to begin with, the newest alone, or those from an attempt on."""
    logs = [each for each in find_logs(run) if each.rank == rank]
    if log:
        return [each for each in logs if each.attempt > log.attempt]
    if attempt is None:
        return logs[-1:]
    return [each for each in logs if each.attempt >= attempt]


class _Growing:
    """The text of a file that is still written to."""

    def __init__(self) -> None:
        self._done = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def more(self, path: Path) -> Iterator[str]:
        """What has come to it since the last time."""
        with path.open("rb") as file:
            file.seek(self._done)
            new = file.read()
        self._done += len(new)
        if text := self._decoder.decode(new):
            yield text
