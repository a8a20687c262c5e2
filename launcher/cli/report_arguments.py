"""The arguments of the commands that compare what runs have come to."""

from __future__ import annotations

import argparse
from pathlib import Path

from launcher.cli.argument_types import add_targets


def add_compare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    compare = commands.add_parser(
        "compare",
        help="show runs side by side: what differs in their configs, and what came of it",
        description="Show runs side by side: the keys of their configs that differ, the mean loss "
        "over the last tenth of each run, and the best value of a metric with its iteration.",
    )
    add_targets(compare, is_required=True)
    _add_metric(compare)
    compare.add_argument(
        "--sort", metavar="COLUMN", help="sort by a column: lowest first, or best first"
    )
    compare.add_argument(
        "--csv", nargs="?", const="-", metavar="FILE", help="write CSV to a file [stdout]"
    )
    compare.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw the metric over iterations as .png, .svg or .pdf; needs matplotlib",
    )


def add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    report = commands.add_parser(
        "report",
        help="write a page about an experiment, to be opened in any browser",
        description="Write one HTML page that needs no server and no network: the runs with their "
        "swept values, curves, pictures of the newest snapshots, attempts, and the GPU hours that "
        "were used and lost. The runs may be training meanwhile.",
    )
    add_targets(report, is_required=True)
    _add_metric(report)
    report.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="page to write [EXPERIMENT.html, in this folder]",
    )
    report.add_argument(
        "--wandb",
        action="store_true",
        help="make a report in the W&B project of the runs instead of a page",
    )


def _add_metric(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--metric",
        metavar="NAME",
        help="metric by which runs are compared [that of checkpoint.keep_best, else loss]",
    )
    command.add_argument(
        "--best",
        choices=("min", "max"),
        help="whether lower or higher values of it are better [as in checkpoint.keep_best, or min]",
    )
