"""Format tables, names, paths and durations for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from math import isinf
from pathlib import Path
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return the rows as text, in left-aligned columns."""
    lines = [header, *rows]
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(padded(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def display_width(text: str) -> int:
    """Return the columns that a text takes in a terminal: two for a wide character."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # its tables of Unicode are not needed for most names

    return cell_len(text)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return the text filled up with blanks to a width, which are to the left with `right`."""
    blanks = " " * (width - display_width(text))
    return blanks + text if right else text + blanks


def cut(text: str, width: int, *, ellipsis: str = "…", middle: bool = False) -> str:
    """Return a text that takes at most a width; what is left out stands as an ellipsis.

    Args:
        middle: Leave out the middle: the end of a name tells as much as its beginning.
    """
    if display_width(text) <= width:
        return text
    room = max(0, width - display_width(ellipsis))
    end = room // 2 if middle else 0
    tail = _prefix(text[::-1], end)[::-1]
    return (_prefix(text, room - end) + ellipsis + tail)[: max(width, 0)]


def _prefix(text: str, width: int) -> str:
    taken = 0
    for number, character in enumerate(text):
        taken += display_width(character)
        if taken > width:
            return text[:number]
    return text


def printable(text: str, encoding: str = "utf-8") -> str:
    """Return a text on one line that a terminal of an encoding can show.

    Blanks and line breaks become one blank; control characters, and what the encoding does not
    have, are written as `\\x1b` or `\\u0142`: names of runs and messages of programs hold anything.
    """
    if not text.isascii():  # a locale of few letters has read names of files as single bytes
        with suppress(UnicodeEncodeError):
            text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    line = " ".join(text.split()) if "  " in text or not text.isprintable() else text
    if not line.isprintable():
        line = "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode() for each in line
        )
    return line.encode(encoding, "backslashreplace").decode(encoding)


def counted(numbers: Mapping[Any, int]) -> str:
    """Return `2 crashed, 1 failed` for `{"crashed": 2, "failed": 1}`."""
    return ", ".join(f"{number} {name}" for name, number in numbers.items())


def first_names(names: Sequence[str], most: int) -> str:
    """Return the first names and the number of the others: `a, b and 3 more`."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")


def short(path: Path | str) -> str:
    """Return the path, relative to the current folder if it lies below it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, FileNotFoundError):  # elsewhere, or the current folder is gone
        return str(path)


def show_seconds(seconds: float) -> str:
    """Return a duration as Slurm writes it: `12:00:00`, `2-00:00:00`."""
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{f'{days}-' if days else ''}{hours:02}:{minutes:02}:{left:02}"


def show_memory(gb: float, digits: str = "g") -> str:
    """Return an amount of memory; an infinite one is not known."""
    return "memory unknown" if isinf(gb) else f"{gb:{digits}} GB"


def finite(value: object) -> object:
    """Return a value for JSON, which has no infinite numbers: None stands for what is not known."""
    return None if isinstance(value, float) and isinf(value) else value


def show_about(seconds: float) -> str:
    """Return a duration in two digits or so, for a column: `45 s`, `12 min`, `3.2 h`, `2.1 d`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 47.95 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"
