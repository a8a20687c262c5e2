"""Read the words that Slurm's programs have in common."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

NOTHING = frozenset(("", "(null)", "N/A", "NONE", "None", "Unknown", "UNLIMITED", "INFINITE"))
"""How Slurm says that there is no value, no limit, or none yet."""

_FIELD = re.compile(r"(?:^|\s)([A-Z][\w/:]*)=(\S*)")
_SETTING = re.compile(r"([\w/]+)\s*=\s?(.*)")
_TIME = re.compile(r"(?:(\d+)-)?(\d+):(\d+)(?::(\d+))?")
_COMMA = re.compile(r",(?![^\[]*\])")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?(?::(\d+))?")


def read_records(text: str) -> list[dict[str, str]]:
    """The records of `scontrol show … --oneliner`, one a line; of a key's values the first counts.

    A value with spaces in it is cut at the first.
    """
    records = []
    for line in text.splitlines():
        record: dict[str, str] = {}
        for key, value in _FIELD.findall(line):
            record.setdefault(key, value)
        if record:
            records.append(record)
    return records


def read_settings(text: str) -> dict[str, str]:
    """The lines `Name = value` of `scontrol show config`."""
    matches = map(_SETTING.fullmatch, map(str.strip, text.splitlines()))
    return {match[1]: match[2].strip() for match in matches if match}


def read_table(text: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of `sacct` or `sacctmgr` with --parsable2; those that are cut short are left out."""
    rows = (line.split("|") for line in text.splitlines())
    return [dict(zip(columns, row, strict=True)) for row in rows if len(row) == len(columns)]


def read_number(word: str) -> int | None:
    """The whole number that the text begins with, as in `30 sec`; None for `UNLIMITED` and such."""
    match = re.match(r"\d+", word)
    return int(match[0]) if match else None


def read_seconds(word: str) -> int | None:
    """The length of `days-hours:minutes:seconds` or `minutes:seconds`; None for no limit."""
    match = _TIME.fullmatch(word)
    if match is None:
        return None
    days, *parts = match.groups()
    given = [int(part) for part in parts if part is not None]
    hours, minutes, seconds = [0] * (3 - len(given)) + given
    return ((24 * int(days or 0) + hours) * 60 + minutes) * 60 + seconds


def read_moment(word: str) -> float | None:
    """Unix time of `2026-01-31T12:00:00`, in the time zone of this process; None if it has none."""
    try:
        return datetime.fromisoformat(word).timestamp()
    except ValueError:
        return None


def read_state(word: str) -> str:
    """A job's state as one word: `CANCELLED by 1000` is CANCELLED."""
    return word.split()[0] if word.strip() else "UNKNOWN"


def expand_array(job_id: str) -> list[str]:
    """The ids of an array's tasks: `12_[0-2,7%2]` is 12_0, 12_1, 12_2 and 12_7."""
    head, bracket, tasks = job_id.partition("[")
    if not bracket:
        return [job_id]
    return [f"{head}{number}" for number in _numbers(tasks.partition("%")[0].rstrip("]"))]


def expand_hosts(text: str) -> list[str]:
    """The hosts of a list: `n[1-2],gpu-a[07-08]` is n1, n2, gpu-a07 and gpu-a08."""
    if text in NOTHING:
        return []
    return [host for hosts in _COMMA.split(text) for host in _expand_hosts(hosts)]


def _expand_hosts(text: str) -> list[str]:
    head, bracket, rest = text.partition("[")
    if not bracket:
        return [text]
    numbers, _, tail = rest.partition("]")
    return [f"{head}{number}{host}" for number in _numbers(numbers) for host in _expand_hosts(tail)]


def _numbers(text: str) -> Iterator[str]:
    for match in _RANGE.finditer(text):
        first, last, step = match[1], match[2] or match[1], match[3] or "1"
        for number in range(int(first), int(last) + 1, int(step)):
            yield str(number).zfill(len(first))
