"""The table of runs in a page, and a section for each of them."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from attrs import frozen

from launcher.report.comparison import Column, Comparison
from launcher.report.differing_keys import ABSENT, show_value
from launcher.report.gpu_use import GpuUse
from launcher.report.metric_charts import key, run_chart
from launcher.report.results import JudgedMetric, RunResult
from launcher.report.snapshot_pictures import SnapshotPicture
from launcher.tables import counted, show_seconds
from trainers.run.attempt_history import Attempt

_MISSING = "\u2013"


@frozen
class _Cell:
    """What a cell shows, as HTML, and what its column is sorted by; empty if it is missing."""

    shown: str
    sort: str = ""
    is_number: bool = False


def run_table(comparison: Comparison, best: RunResult | None) -> Iterator[str]:
    """Yield the table of all runs; a click on a column sorts it."""
    judged, results = comparison.judged, comparison.results
    yield (
        '<p class="soft"><span class="screen">A click on a column sorts by it.</span> '
        "Loss: the mean over the last tenth of a run. "
        f"Best {escape(judged.name)}: the {judged.mode}imum over its means of a tenth of a run, "
        "or over its values if it is measured now and then.</p>"
    )
    columns = _columns(comparison)
    styles = {
        label: ' class="number"' if any(cell.is_number for cell in cells) else ""
        for label, cells in columns.items()
    }
    names = {column.label: column.name for column in comparison.columns}
    yield '<div class="scroll"><table class="runs" aria-labelledby="runs"><thead><tr>'
    for label, style in styles.items():
        title = escape(names.get(label, label))
        button = f'<button type="button" title="{title}">{_breakable(label)}</button>'
        yield f'<th scope="col"{style}>{button}</th>'
    yield "</tr></thead><tbody>"
    for number, result in enumerate(results):
        style = ' class="best"' if result is best else ""
        yield f'<tr data-run="{number}"{style}>'
        for label, cells in columns.items():
            cell = cells[number]
            yield f'<td{styles[label]} data-sort="{escape(cell.sort)}">{cell.shown}</td>'
        yield "</tr>"
    yield "</tbody></table></div>"


def _columns(comparison: Comparison) -> dict[str, list[_Cell]]:
    results = comparison.results
    columns = {column.label: _cells(column) for column in comparison.columns}
    del columns["of"]
    columns |= {
        "run": [_run_cell(result, number) for number, result in enumerate(results)],
        "state": [_Cell(_state(result), str(result.status.state)) for result in results],
        "iterations": [
            _Cell(_done(result), str(result.status.iteration), is_number=True) for result in results
        ],
        "attempts": [_text(counted(result.status.attempts)) for result in results],
    }
    if any(result.gpu_use.gpu_hours for result in results):
        columns["GPU hours"] = [_hours(result.gpu_use.gpu_hours) for result in results]
        columns["lost"] = [_hours(result.gpu_use.lost_gpu_hours) for result in results]
    else:
        columns["hours"] = [_hours(result.gpu_use.hours) for result in results]
        columns["lost"] = [_hours(result.gpu_use.lost_hours) for result in results]
    return columns


def _state(result: RunResult) -> str:
    return f'<span class="state-{result.status.state}">{result.status.state}</span>'


def _done(result: RunResult) -> str:
    return f"{result.status.iteration} of {result.status.num_iterations or '?'}"


def run_section(
    result: RunResult, number: int, judged: JudgedMetric, picture: SnapshotPicture
) -> Iterator[str]:
    """Yield the section of one run."""
    status = result.status
    yield f'<section id="run-{number}"><h3>{key(number)}{escape(status.name)}</h3>'
    reason = ": ".join(filter(None, ("", status.reason or status.concern)))
    yield f"<p>{_state(result)}, {_done(result)} iterations{escape(reason)}</p>"
    for problem in (*result.problems, *picture.problems):
        yield f'<p class="problem">{escape(problem)}</p>'
    if drawn := run_chart(result, number, judged):
        marked = ", with a mark where an attempt stopped or resumed" if "mark" in drawn else ""
        caption = f"{escape(judged.name)} over iterations{marked}"
        yield f'<figure class="curve">{drawn}<figcaption>{caption}</figcaption></figure>'
    if picture.png:
        yield _figure(picture, status.name)
    yield from _attempt_table(result.attempts)
    yield "</section>"


def _figure(picture: SnapshotPicture, run: str) -> str:
    data = base64.b64encode(picture.png).decode()
    text = escape(
        f"Raw data, ground truth, target and prediction of {run} in iteration {picture.iteration}"
    )
    return (
        f'<figure><img class="snapshot" alt="{text}" src="data:image/png;base64,{data}">'
        f"<figcaption>Snapshot of iteration {picture.iteration}: slices through the middle of "
        "the prediction; of several channels the first three are red, green and blue"
        "</figcaption></figure>"
    )


def _attempt_table(attempts: Sequence[Attempt]) -> Iterator[str]:
    if not attempts:
        return
    yield '<div class="scroll"><table class="attempts"><thead><tr>'
    for label in (
        "attempt",
        "began",
        "ended",
        "took",
        "iterations",
        "lost",
        "node",
        "GPUs",
        "ended by",
    ):
        yield f'<th scope="col">{label}</th>'
    yield "</tr></thead><tbody>"
    for attempt in attempts:
        began, ended = attempt.began, attempt.ended
        took = "" if began is None or ended is None else show_seconds(max(0.0, ended - began))
        gained = "" if attempt.gained is None else f"{attempt.first_iteration} + {attempt.gained}"
        reason = ": ".join(filter(None, (attempt.cause, attempt.reason)))
        cells = (
            attempt.number,
            _moment(began),
            _moment(ended),
            took,
            gained,
            _MISSING if attempt.lost is None else attempt.lost,
            attempt.node,
            " ".join(",".join(gpus) for gpus in attempt.gpus),
        )
        shown = "".join(
            f"<td>{escape(str(_MISSING if c in (None, '') else c))}</td>" for c in cells
        )
        yield f'<tr>{shown}<td class="long">{escape(reason) or _MISSING}</td></tr>'
    yield "</tbody></table></div>"


def _moment(unix_time: float | None) -> str:
    if unix_time is None:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_time))


def _run_cell(result: RunResult, number: int) -> _Cell:
    name = result.status.name
    return _Cell(f'{key(number)}<a href="#run-{number}">{_breakable(name)}</a>', name)


def _breakable(text: str) -> str:
    """Return a name as HTML that may go on in the next line after a punctuation mark."""
    return re.sub(r"(?<=[_./-])(?=\w)", "<wbr>", escape(text))


def _cells(column: Column) -> list[_Cell]:
    return [_cell(column, row) for row in range(len(column.values))]


def _cell(column: Column, row: int) -> _Cell:
    value: Any = column.values[row]
    shown = column.shown(row)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is ABSENT or (value is None and not column.is_config):
        return _Cell(_MISSING)
    return _Cell(escape(shown), repr(value) if is_number else show_value(value), is_number)


def _text(text: str) -> _Cell:
    return _Cell(escape(text) or _MISSING, text)


def _hours(hours: float) -> _Cell:
    return _Cell(show_hours(hours), repr(hours), is_number=True)


def show_hours(hours: float) -> str:
    """Return hours with two decimals, or two digits if there are fewer."""
    return f"{hours:.2f}" if hours >= 0.1 else f"{hours:.2g}"


def show_use(used: float, lost: float, use: GpuUse) -> tuple[str, str]:
    """Return hours in sum, and those of them that were lost."""
    at_least = "at least " if use.is_lower_bound else ""
    share = f" ({100 * lost / used:.0f} %)" if used else ""
    return f"{at_least}{show_hours(used)}", f"{show_hours(lost)}{share} lost at stops"
