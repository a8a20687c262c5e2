"""Write a page about runs: one HTML file that asks for nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from attrs import frozen

from launcher.monitor.status_table import summary
from launcher.report.comparison import Comparison, compare
from launcher.report.differing_keys import show_number
from launcher.report.gpu_use import GpuUse
from launcher.report.metric_charts import result_charts, speed_charts
from launcher.report.results import JudgedMetric, RunResult
from launcher.report.run_table import run_section, run_table, show_hours, show_use
from launcher.report.snapshot_pictures import SnapshotPictures, draw_pictures
from trainers.config.yaml_text import dump_yaml
from trainers.run.atomic_write import atomic_write

_DISTRIBUTION = "launch-trainers"
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Browsers fetch nothing then, whatever the page holds."""


@frozen(kw_only=True)
class WrittenPage:
    """What was written."""

    num_bytes: int
    best: str | None
    """The name of the best run."""


def write_page(
    results: Sequence[RunResult],
    judged: JudgedMetric,
    path: Path,
    *,
    on_picture: Callable[[int, int], None] = lambda done, total: None,
) -> WrittenPage:
    """Write the page of runs, the best first.

    Args:
        on_picture: Called with the number of runs whose snapshot is drawn, and of all.
    """
    comparison = compare(results, judged).sorted_by(f"best_{judged.name}")
    pictures = draw_pictures(comparison.results, on_picture)
    best = judged.best_of(results)
    lines = _page(comparison, best, pictures, made=time.time())
    content = "\n".join(lines).encode(errors="replace")
    with atomic_write(path) as file:
        file.write(content)
    return WrittenPage(num_bytes=len(content), best=best.status.name if best else None)


def _page(
    comparison: Comparison,
    best: RunResult | None,
    pictures: SnapshotPictures,
    *,
    made: float,
) -> Iterator[str]:
    results, judged = comparison.results, comparison.judged
    title = escape(", ".join(dict.fromkeys(result.status.experiment for result in results)))
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>"
    yield f"<style>\n{_part('page.css')}</style>\n</head>\n<body>"
    yield f"<header><h1>{title}</h1>"
    yield f'<p class="soft">{escape(summary([result.status for result in results]))}</p>'
    yield from _facts(results, judged, best)
    yield "</header>\n<main>"
    yield '<section><h2 id="runs">Runs</h2>'
    yield from run_table(comparison, best)
    yield "</section>"
    yield '<section><h2 id="curves">Curves</h2>'
    yield '<p class="soft">A point is the mean over neighboring rows of a run.</p>'
    yield from result_charts(results, judged)
    yield "<details><summary>Learning rate and speed</summary>"
    yield from speed_charts(results)
    yield "</details></section>"
    yield '<section><h2 id="each">Each run</h2>'
    if pictures.problem:
        yield f'<p class="problem">{escape(pictures.problem)}</p>'
    for number, (result, picture) in enumerate(zip(results, pictures.of_runs, strict=True)):
        yield from run_section(result, number, judged, picture)
    yield "</section>"
    if best and best.config:
        yield '<section><h2 id="config">Config of the best run</h2>'
        yield f"<p>{escape(best.status.name)}</p>"
        yield f"<pre>{escape(dump_yaml(best.config))}</pre></section>"
    yield "</main>"
    yield f'<footer class="soft"><p>{escape(_origin(made))}</p></footer>'
    yield f"<script>\n{_part('page.js')}</script>\n</body>\n</html>\n"


def _facts(
    results: Sequence[RunResult], judged: JudgedMetric, best: RunResult | None
) -> Iterator[str]:
    use = sum((result.gpu_use for result in results), GpuUse())
    yield '<dl class="facts">'
    if best and (value := best.best(judged)):
        where = f"{judged.name} {show_number(value.value)} at iteration {value.iteration}"
        yield _fact("Best run", best.status.name, where)
    if use.gpu_hours:
        yield _fact("GPU hours", *show_use(use.gpu_hours, use.lost_gpu_hours, use))
    else:
        yield _fact("GPU hours", show_hours(0), "no attempt was given a GPU")
    yield _fact("Hours of training", *show_use(use.hours, use.lost_hours, use))
    yield "</dl>"


def _fact(label: str, value: str, more: str) -> str:
    small = f"<small>{escape(more)}</small>"
    return f"<div><dt>{escape(label)}</dt><dd>{escape(value)}{small}</dd></div>"


def _origin(made: float) -> str:
    try:
        of = f"{_DISTRIBUTION} {version(_DISTRIBUTION)}"
    except PackageNotFoundError:  # a checkout on the PYTHONPATH
        of = f"a checkout of {_DISTRIBUTION}"
    when = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(made))
    return f"Made on {when} by {of}. Times are in {time.strftime('%Z', time.localtime(made))}."


def _part(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
