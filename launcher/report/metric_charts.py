"""The charts of a page: which metrics are drawn, and with which marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import zip_longest

from launcher.report.results import LOSS, JudgedMetric, RunResult
from launcher.report.svg_chart import Mark, Series, chart, line_style
from trainers.run.attempt_history import Attempt
from trainers.run.run_state import Cause

_SPEED = (
    "learning_rate",
    "samples_per_second",
    "data_wait_s",
    "step_time_s",
    "data_hit_rate",
    "save_stall_s",
)
"""What a run was set to, and what it cost: drawn below what it came to."""
_NOT_DRAWN = ("data_queue_depth", "skipped_steps")
_NUM_POINTS = 300
"""Of a curve, if the runs are few."""
_MAX_POINTS = 9000
"""Of a chart."""
_MAX_LEGEND = 16


def metric_names(results: Sequence[RunResult], judged: JudgedMetric) -> list[str]:
    """Return the metrics that tell what runs have come to, the one they are judged by first."""
    known = dict.fromkeys([judged.name, LOSS])
    known |= dict.fromkeys(name for result in results for name in result.curves.by_name)
    return [name for name in known if name not in (*_SPEED, *_NOT_DRAWN) or name == judged.name]


def result_charts(results: Sequence[RunResult], judged: JudgedMetric) -> Iterator[str]:
    """Yield the charts of all runs together, and what their lines stand for."""
    yield from _charts(results, metric_names(results, judged))
    if 1 < len(results) <= _MAX_LEGEND:
        yield '<ul class="legend">'
        for number, result in enumerate(results):
            yield f"<li>{key(number)}{escape(result.status.name)}</li>"
        yield "</ul>"


def speed_charts(results: Sequence[RunResult]) -> Iterator[str]:
    """Yield the charts of learning rates and of speed."""
    yield from _charts(results, _SPEED)


def run_chart(result: RunResult, number: int, judged: JudgedMetric) -> str:
    """Return the chart of one run, with its stops and resumes; empty if it has no rows."""
    points = result.curve(judged.name).binned(_NUM_POINTS)
    series = Series(name=result.status.name, points=points, number=number)
    return chart([series], list(_marks(result.attempts)), metric=judged.name)


def key(number: int) -> str:
    """Return a piece of the line of a run."""
    return (
        '<svg class="key" viewBox="0 0 28 12" aria-hidden="true">'
        f'<path class="{line_style(number)}" d="M2 6H26"/></svg>'
    )


def _charts(results: Sequence[RunResult], metrics: Sequence[str]) -> Iterator[str]:
    num_points = max(20, min(_NUM_POINTS, _MAX_POINTS // len(results)))
    yield '<div class="charts">'
    for metric in metrics:
        series = [
            Series(name=each.status.name, points=points, number=number)
            for number, each in enumerate(results)
            if (points := each.curve(metric).binned(num_points))
        ]
        if drawn := chart(series, metric=metric):
            yield f"<figure>{drawn}</figure>"
    yield "</div>"


def _marks(attempts: Sequence[Attempt]) -> Iterator[Mark]:
    """Yield where attempts stopped and the next ones resumed, one mark if that is one place."""
    for attempt, following in zip_longest(attempts, attempts[1:]):
        if attempt.cause is None or attempt.iteration is None:
            continue
        if following is None and attempt.cause == Cause.FINISHED:
            continue
        stopped = f"attempt {attempt.number} stopped after iteration {attempt.iteration}"
        text = f"{stopped}: {attempt.cause}"
        resumed = following.first_iteration if following else None
        if following is None or resumed is None:
            yield Mark(attempt.iteration, text)
        elif resumed == attempt.iteration:
            yield Mark(resumed, f"{text}; resumed there")
        else:
            yield Mark(attempt.iteration, text)
            yield Mark(resumed, f"attempt {following.number} resumed at iteration {resumed}")
