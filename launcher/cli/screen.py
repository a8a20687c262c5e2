"""Print tables with colors, and keep one on the screen up to date; `rich` is loaded only for that.

A pipe gets plain text with nothing cut, unless FORCE_COLOR is set; NO_COLOR takes the colors away.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from launcher.cli.printing import print_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from launcher.monitor.status import RunStatus
    from launcher.monitor.table_layout import Line
    from trainers.run.run_folder import RunFolder

Choice = Callable[[Sequence["RunStatus"]], list["RunStatus"]]
"""Which runs to show, and in what order."""


def is_screen() -> bool:
    """Return whether stdout is a terminal in which a table can be redrawn."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def screen_width() -> int | None:
    """Return the columns of the terminal; None if stdout is no terminal."""
    return _console().width if sys.stdout.isatty() else None


def print_lines(lines: Sequence[Line]) -> None:
    """Print lines to stdout, in colors where it takes them."""
    if not (sys.stdout.isatty() or os.environ.get("FORCE_COLOR")):
        print_text("\n".join(line.text for line in lines))
        return
    console = _console()
    with console.capture() as captured:  # rich would end the process if the reader is gone
        for line in lines:
            console.print(_text(line), soft_wrap=True)
    print_text(captured.get(), end="")


def wait_for_runs(
    runs: Sequence[RunFolder], *, choose: Choice = list, is_sorted: bool = False
) -> list[RunStatus]:
    """Show runs until nothing changes any more; return their last statuses.

    Args:
        is_sorted: Whether `choose` sets the order in which rows are left out on a small screen.
    """
    if not is_screen():
        return _wait_in_a_log(runs, choose)
    from rich.console import Group
    from rich.live import Live

    from launcher.monitor.progress import failures, screen_lines
    from launcher.monitor.watch import watch

    console = _console()
    statuses: list[RunStatus] = []
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for statuses in watch(runs):
            lines = screen_lines(
                choose(statuses),
                columns=console.width,
                lines=console.height,
                encoding=console.encoding,
                total=statuses,
                is_sorted=is_sorted,
            )
            live.update(Group(*map(_text, lines)), refresh=True)
    for failure in failures(choose(statuses)):
        print_text(failure)
    return statuses


def _wait_in_a_log(runs: Sequence[RunFolder], choose: Choice) -> list[RunStatus]:
    from launcher.monitor.progress import LineProgress
    from launcher.monitor.watch import watch

    progress = LineProgress()
    statuses: list[RunStatus] = []
    for statuses in watch(runs):
        print_text(progress.text(choose(statuses), time.monotonic()), end="")
    print_text(progress.end(choose(statuses)), end="")
    return statuses


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def _text(line: Line) -> Text:
    from rich.text import Text

    text = Text(line.text, no_wrap=True, overflow="ignore")
    for begin, end, style in line.spans:
        text.stylize(style, begin, end)
    return text
