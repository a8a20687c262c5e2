"""Parse the formats that Slurm's commands share: records, tables, times, arrays, host lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

NOTHING = frozenset(("", "(null)", "N/A", "NONE", "None", "Unknown", "UNLIMITED", "INFINITE"))
"""Slurm's words for no value, no limit, or none yet."""

_FIELD = re.compile(r"(?:^|\s)([A-Z][\w/:]*)=(\S*)")
_SETTING = re.compile(r"([\w/]+)\s*=\s?(.*)")
_TIME = re.compile(r"(?:(\d+)-)?(\d+):(\d+)(?::(\d+))?")
_COMMA = re.compile(r",(?![^\[]*\])")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?(?::(\d+))?")


def read_records(text: str) -> list[dict[str, str]]:
    """Parse `scontrol show … --oneliner`, one record per line; the first value of a key counts.

    A value is cut at its first space: the format does not say where a value ends.
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
    """Parse the lines `Name = value` of `scontrol show config`."""
    matches = map(_SETTING.fullmatch, map(str.strip, text.splitlines()))
    return {match[1]: match[2].strip() for match in matches if match}


def read_table(text: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Parse `sacct` or `sacctmgr` with --parsable2; incomplete rows are left out."""
    rows = (line.split("|") for line in text.splitlines())
    return [dict(zip(columns, row, strict=True)) for row in rows if len(row) == len(columns)]


def read_number(text: str) -> int | None:
    """Return the integer at the start of a text such as `30 sec`; None for `UNLIMITED` and such."""
    match = re.match(r"\d+", text)
    return int(match[0]) if match else None


def read_seconds(text: str) -> int | None:
    """Return a duration, `days-hours:minutes:seconds` or `minutes:seconds`; None for no limit."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    days, *parts = match.groups()
    given = [int(part) for part in parts if part is not None]
    hours, minutes, seconds = [0] * (3 - len(given)) + given
    return ((24 * int(days or 0) + hours) * 60 + minutes) * 60 + seconds


def read_moment(text: str) -> float | None:
    """Return the Unix time of `2026-01-31T12:00:00`, in local time; None for `Unknown` and such."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def read_state(text: str) -> str:
    """Return a job's state as one word: CANCELLED for `CANCELLED by 1000`."""
    return text.split()[0] if text.strip() else "UNKNOWN"


def expand_array(job_id: str) -> list[str]:
    """Return the ids of an array's tasks: 12_0, 12_1, 12_2 and 12_7 for `12_[0-2,7%2]`."""
    head, bracket, tasks = job_id.partition("[")
    if not bracket:
        return [job_id]
    return [f"{head}{number}" for number in _numbers(tasks.partition("%")[0].rstrip("]"))]


def expand_hosts(text: str) -> list[str]:
    """Return the hosts of a list: n1, n2, gpu-a07 and gpu-a08 for `n[1-2],gpu-a[07-08]`."""
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
