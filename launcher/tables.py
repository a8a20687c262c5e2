"""What the commands find, as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns, aligned to the left."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def counted(numbers: Mapping[Any, int]) -> str:
    """{"crashed": 2} as `2 crashed`."""
    return ", ".join(f"{number} {name}" for name, number in numbers.items())


def short(path: Path | str) -> str:
    """The path as seen from the current folder if it lies below, for reading and copying."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)


def show_seconds(seconds: float) -> str:
    """The length of time as Slurm writes it: `12:00:00`, `2-00:00:00`."""
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{f'{days}-' if days else ''}{hours:02}:{minutes:02}:{left:02}"
