"""The commands that compare what runs have come to: compare and report."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.cli.printing import print_progress, print_result
from launcher.experiment.experiment_folder import ROOT

if TYPE_CHECKING:
    from launcher.report.results import RunResult
    from trainers.run.run_folder import RunFolder

_PROGRESS_EVERY_S = 2.0


def compare(arguments: Namespace) -> int:
    from launcher.report.comparison import (
        compare,
        comparison_csv,
        comparison_json,
        comparison_text,
    )
    from launcher.report.curve_plot import plot_curves
    from launcher.report.results import judged_metric
    from trainers.run.atomic_write import atomic_write

    results = _read(arguments.targets)
    judged = judged_metric(results, arguments.metric, arguments.best)
    comparison = compare(results, judged)
    if arguments.sort:
        comparison = comparison.sorted_by(arguments.sort)
    if arguments.plot:
        plot_curves(comparison.results, judged.name, arguments.plot)
        print_progress(f"plotted {judged.name} to {arguments.plot}")
    text = comparison_csv(comparison) if arguments.csv else comparison_text(comparison)
    if arguments.csv and arguments.csv != "-":
        with atomic_write(Path(arguments.csv)) as file:
            file.write(text.encode())
        print_progress(f"written to {arguments.csv}")
        text = comparison_text(comparison)
    _print_problems(comparison.results)
    return print_result(arguments, comparison_json(comparison), text.rstrip("\n"))


def report(arguments: Namespace) -> int:
    from launcher.report.page import write_page
    from launcher.report.results import judged_metric
    from launcher.tables import short

    results = _read(arguments.targets)
    judged = judged_metric(results, arguments.metric, arguments.best)
    names = list(dict.fromkeys(result.status.experiment for result in results))
    path = arguments.output or Path(f"{'+'.join(names)[:100]}.html")
    written = write_page(results, judged, path, on_picture=_Progress("drawn", "pictures"))
    _print_problems(results)
    data = {"page": str(path.absolute()), "bytes": written.num_bytes, "runs": len(results)}
    best = f", the best of them {written.best}" if written.best else ""
    size = f"{written.num_bytes / 1e6:.1f} MB"
    return print_result(arguments, data, f"{short(path)}: {len(results)} runs{best}; {size}")


def _read(targets: Sequence[str]) -> list[RunResult]:
    from launcher.report.results import read_results

    return read_results(_find(targets), _Progress("read", "runs"))


def _find(targets: Sequence[str]) -> list[RunFolder]:
    from launcher.monitor.find_run import find_run
    from launcher.monitor.status import find_runs

    found: list[RunFolder] = []
    for target in targets:
        folders = [path for path in (Path(target), ROOT / target) if path.is_dir()]
        found += find_runs(folders[0].absolute()) if folders else [find_run(target, ROOT)]
    return list(dict.fromkeys(found))


def _print_problems(results: Sequence[RunResult]) -> None:
    for result in results:
        for problem in result.problems:
            print_progress(f"{result.status.name}: {problem}")


class _Progress:
    """Says now and then how far a long work is."""

    def __init__(self, verb: str, noun: str) -> None:
        self._verb, self._noun = verb, noun
        self._next_s = time.monotonic() + _PROGRESS_EVERY_S

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() > self._next_s:
            self._next_s = time.monotonic() + _PROGRESS_EVERY_S
            print_progress(f"{self._verb} {done} of {total} {self._noun}")
