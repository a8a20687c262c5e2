"""The commands that compare what runs have come to: compare and report."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher import exit_codes
from launcher.cli.printing import print_json, print_progress, print_result, print_text
from launcher.errors import LauncherError
from launcher.experiment.experiment_folder import ROOT

if TYPE_CHECKING:
    from launcher.report.results import JudgedMetric, RunResult

_PROGRESS_EVERY_S = 2.0


def compare(arguments: Namespace) -> int:
    from launcher.cli.screen import print_lines, screen_width
    from launcher.report.comparison import (
        compare,
        comparison_csv,
        comparison_json,
        comparison_lines,
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
    _print_problems(comparison.results)
    if arguments.json:
        print_json(comparison_json(comparison))
        return exit_codes.OK
    if arguments.csv:
        content = comparison_csv(comparison)
        if arguments.csv == "-":
            print_text(content, end="")
            return exit_codes.OK
        with atomic_write(Path(arguments.csv)) as file:
            file.write(content.encode())
        print_progress(f"written to {arguments.csv}")
    encoding = sys.stdout.encoding or "utf-8"
    print_lines(comparison_lines(comparison, width=screen_width(), encoding=encoding))
    return exit_codes.OK


def report(arguments: Namespace) -> int:
    from launcher.report.page import write_page
    from launcher.report.results import judged_metric
    from launcher.tables import short

    results = _read(arguments.targets)
    judged = judged_metric(results, arguments.metric, arguments.best)
    if arguments.wandb:
        return _report_to_wandb(arguments, results, judged)
    names = list(dict.fromkeys(result.status.experiment for result in results))
    path = arguments.output or Path(f"{'+'.join(names)[:100]}.html")
    written = write_page(results, judged, path, on_picture=_Progress("drawn", "pictures"))
    _print_problems(results)
    data = {"page": str(path.absolute()), "bytes": written.num_bytes, "runs": len(results)}
    best = f", the best of them {written.best}" if written.best else ""
    size = f"{written.num_bytes / 1e6:.1f} MB"
    return print_result(arguments, data, f"{short(path)}: {len(results)} runs{best}; {size}")


def _report_to_wandb(
    arguments: Namespace, results: Sequence[RunResult], judged: JudgedMetric
) -> int:
    from launcher.report.wandb_report import make_wandb_report

    if arguments.output:
        raise LauncherError(f"found --wandb with --output {arguments.output}; choose one of them")
    print_progress("making a report at W&B")
    url = make_wandb_report(results, judged)
    _print_problems(results)
    return print_result(arguments, {"url": url, "runs": len(results)}, url)


def _read(targets: Sequence[str]) -> list[RunResult]:
    from launcher.monitor.find_run import find_targets
    from launcher.report.results import read_results

    return read_results(find_targets(targets, ROOT), _Progress("read", "runs"))


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
