"""Find, read and follow the logs of a run, one per rank and attempt."""

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
_MAX_LISTED = 20


@frozen(kw_only=True)
class RunLog:
    """The log of one rank of one attempt."""

    path: Path
    attempt: int
    rank: int


def find_logs(run: RunFolder) -> list[RunLog]:
    """Return all logs of a run, sorted by attempt and rank."""
    matches = ((path, _NAME.fullmatch(path.name)) for path in run.logs.glob("attempt-*.log"))
    logs = [
        RunLog(path=path, attempt=int(match[1]), rank=int(match[2]))
        for path, match in matches
        if match
    ]
    return sorted(logs, key=lambda log: (log.attempt, log.rank))


def choose_log(run: RunFolder, *, attempt: int | None, rank: int) -> RunLog:
    """Return the log of a rank.

    Args:
        attempt: None for the newest one.

    Raises:
        LauncherError: There is no such log; the message lists the available ones.
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
        raise LauncherError(f"{run.name} has no attempt {attempt}; available: {_listed(attempts)}")
    ranks = {log.rank: log for log in logs if log.attempt == attempt}
    if rank not in ranks:
        raise LauncherError(
            f"attempt {attempt} of {run.name} has no rank {rank}; available: {_listed(list(ranks))}"
        )
    return ranks[rank]


def read_log(log: RunLog) -> str:
    """Return the text of a log; bytes that are not UTF-8 are replaced."""
    return log.path.read_bytes().decode(errors="replace")


def log_json(run: RunFolder, log: RunLog) -> dict[str, Any]:
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
    """
    log: RunLog | None = None
    text = _GrowingText()
    while True:
        over = is_over()  # before the logs are read: what comes after the last read would be lost
        later = _later_logs(run, log, attempt, rank)
        if log:
            yield from text.more(log.path)
        for log in later:
            yield log
            text = _GrowingText()
            yield from text.more(log.path)
        if over:
            return
        if not later:
            time.sleep(poll_s)


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

    def more(self, path: Path) -> Iterator[str]:
        """Yield the text that was added since the last call, if any."""
        with path.open("rb") as file:
            file.seek(self._done)
            new = file.read()
        self._done += len(new)
        if text := self._decoder.decode(new):
            yield text
