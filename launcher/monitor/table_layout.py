"""Lay out a table in a terminal of some width: which columns to show, and what to cut. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
from attrs import field, frozen

from launcher.tables import cut, display_width, padded, printable

_GAP = "  "


@frozen(kw_only=True)
class Column:
    """A column of a table."""

    header: str
    cells: Sequence[str]
    styles: Sequence[str] = ()
    """A style of `rich` for each cell; empty for none at all."""
    importance: int
    """Columns of less importance are left out first where the terminal is narrow."""
    is_right_aligned: bool = False
    min_width: int | None = None
    """To what it may be cut if the table is too wide; None: never."""
    cuts_middle: bool = False
    width: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        width = max(map(display_width, (self.header, *self.cells)))
        object.__setattr__(self, "width", width)

    @property
    def least_width(self) -> int:
        """The least width that it may be cut to."""
        return self.width if self.min_width is None else min(self.width, self.min_width)


@frozen(kw_only=True)
class Line:
    """A line of a table, and the styles of its parts: (begin, end, style), in characters."""

    text: str
    spans: tuple[tuple[int, int, str], ...] = ()


def lay_out(
    columns: Iterable[Column], *, width: int | None = None, encoding: str = "utf-8"
) -> list[Line]:
    """Return the lines of a table; the first is its header.

    Columns without any cell are left out.

    Args:
        width: Of the terminal; None: as wide as it gets, with nothing cut or left out.
        encoding: Of the terminal, for `printable`.
    """
    ellipsis = "…" if printable("…", encoding) == "…" else "..."
    shown = [
        attrs.evolve(column, cells=[printable(cell, encoding) for cell in column.cells])
        for column in columns
        if any(column.cells)
    ]
    if width is None:
        widths = [column.width for column in shown]
    else:
        shown = _that_fit(shown, width)
        widths = _widths(shown, width)
    cells = [_cells(each, w, ellipsis) for each, w in zip(shown, widths, strict=True)]
    styles = [("bold", *(each.styles or [""] * len(each.cells))) for each in shown]
    return [
        _line(row, row_styles)
        for row, row_styles in zip(zip(*cells, strict=True), zip(*styles, strict=True), strict=True)
    ]


def _that_fit(columns: list[Column], width: int) -> list[Column]:
    """Leave out columns, the least important first, until the others fit if they are cut."""
    columns = list(columns)
    while len(columns) > 1 and _least(columns) > width:
        columns.remove(min(columns, key=lambda each: each.importance))
    return columns


def _least(columns: Sequence[Column]) -> int:
    return sum(column.least_width for column in columns) + len(_GAP) * (len(columns) - 1)


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Return the width of each column; what is left over goes to the most important ones."""
    left = width - _least(columns)
    widths = {}
    for column in sorted(columns, key=lambda each: -each.importance):
        more = max(0, min(left, column.width - column.least_width))
        widths[column.header] = column.least_width + more
        left -= more
    only = len(columns) == 1
    return [min(width, widths[each.header]) if only else widths[each.header] for each in columns]


def _cells(column: Column, width: int, ellipsis: str) -> list[str]:
    return [
        padded(
            cut(cell, width, ellipsis=ellipsis, middle=column.cuts_middle),
            width,
            right=column.is_right_aligned,
        )
        for cell in (column.header, *column.cells)
    ]


def _line(cells: Sequence[str], styles: Sequence[str]) -> Line:
    spans, begin = [], 0
    for cell, style in zip(cells, styles, strict=True):
        if style:
            spans.append((begin, begin + len(cell), style))
        begin += len(cell) + len(_GAP)
    text = _GAP.join(cells).rstrip()
    return Line(
        text=text,
        spans=tuple((begin, min(end, len(text)), style) for begin, end, style in spans),
    )
