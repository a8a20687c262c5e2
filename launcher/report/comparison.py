"""Runs side by side: what differs in their configs, and what they have come to."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

import attrs
from attrs import frozen

from launcher.errors import LauncherError, suggestions
from launcher.monitor import table_layout
from launcher.report.differing_keys import (
    ABSENT,
    differing_keys,
    short_labels,
    show_number,
    show_value,
)
from launcher.report.results import JudgedMetric, RunResult

_IMPORTANCE = {"run": 99, "experiment": 70, "at": 60, "state": 50, "iterations": 40, "of": 30}
"""Of columns in a narrow terminal; those that are measured or in a config are in between."""
_OTHER_LABELS = (
    "run",
    "experiment",
    "state",
    "iterations",
    "of",
    "at",
    "attempts",
    "hours",
    "lost",
)
"""No key of a config is called so, here and in the page."""


@frozen(kw_only=True)
class Column:
    """A column of a comparison."""

    name: str
    """In full, as in CSV: `trainer.learning_rate`."""
    label: str
    """For a table: `learning_rate`."""
    values: tuple[Any, ...]
    """One per run, as plain data; ABSENT if a config lacks the key."""
    is_config: bool = False
    is_measured: bool = False
    """Whether these are measured floats, four digits of which are shown."""

    @property
    def is_number(self) -> bool:
        """Whether all values that are there are numbers, and some are there."""
        values = [value for value in self.values if value is not None and value is not ABSENT]
        return bool(values) and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in values
        )

    def shown(self, row: int) -> str:
        value = self.values[row]
        if self.is_measured:
            return show_number(value)
        return "-" if value is None and not self.is_config else show_value(value)


@frozen(kw_only=True)
class Comparison:
    """A table with a row per run."""

    results: tuple[RunResult, ...]
    columns: tuple[Column, ...]
    judged: JudgedMetric

    def column(self, name: str) -> Column:
        """Return a column by its full name or its label, in upper or lower case.

        Raises:
            LauncherError: There is none.
        """
        for column in self.columns:
            if name.lower() in (column.name.lower(), column.label.lower()):
                return column
        known = suggestions(name, [column.label for column in self.columns])
        raise LauncherError(f"no column {name!r} to sort by; {known}")

    def sorted_by(self, name: str) -> Comparison:
        """Return the same rows in order: numbers before texts, what is missing last.

        The best value of the metric that is judged comes first, in other columns the lowest.
        """
        column = self.column(name)
        descends = self.judged.mode == "max" and column.name == f"best_{self.judged.name}"
        order = sorted(
            range(len(self.results)), key=lambda row: _sort_key(column.values[row], descends)
        )
        return attrs.evolve(
            self,
            results=tuple(self.results[row] for row in order),
            columns=tuple(
                attrs.evolve(each, values=tuple(each.values[row] for row in order))
                for each in self.columns
            ),
        )


def compare(results: Sequence[RunResult], judged: JudgedMetric) -> Comparison:
    """Return the comparison of runs, in their order."""
    statuses = [result.status for result in results]
    best = [result.best(judged) for result in results]
    columns = [_column("run", [status.name for status in statuses])]
    if len({status.experiment for status in statuses}) > 1:
        columns.insert(0, _column("experiment", [status.experiment for status in statuses]))
    columns.append(_column("state", [str(status.state) for status in statuses]))
    columns.append(_column("iterations", [status.iteration for status in statuses]))
    goals = [status.num_iterations or None for status in statuses]
    columns.append(Column(name="num_iterations", label="of", values=tuple(goals)))
    differing = differing_keys([result.config for result in results])
    differing.pop("num_iterations", None)  # is there already
    labels = short_labels(list(differing), taken=_OTHER_LABELS)
    for label, (name, values) in zip(labels, differing.items(), strict=True):
        columns.append(Column(name=name, label=label, values=tuple(values), is_config=True))
    columns += [
        Column(
            name="loss_of_last_tenth",
            label="loss of last tenth",
            values=tuple(result.loss for result in results),
            is_measured=True,
        ),
        Column(
            name=f"best_{judged.name}",
            label=f"best {judged.name}",
            values=tuple(each and each.value for each in best),
            is_measured=True,
        ),
        Column(
            name="best_iteration",
            label="at",
            values=tuple(each and each.iteration for each in best),
        ),
    ]
    return Comparison(results=tuple(results), columns=tuple(columns), judged=judged)


def comparison_lines(
    comparison: Comparison, *, width: int | None = None, encoding: str = "utf-8"
) -> list[table_layout.Line]:
    """Return a table for people; see `lay_out`. The best run is green."""
    best = comparison.judged.best_of(comparison.results)
    styles = ["green" if result is best else "" for result in comparison.results]
    columns = [
        table_layout.Column(
            header=column.label.upper(),
            cells=[column.shown(row) for row in range(len(comparison.results))],
            styles=styles if column.name == "run" else (),
            importance=_IMPORTANCE.get(column.label, 80 if column.is_config else 90),
            is_right_aligned=column.is_number,
            min_width=16 if column.name == "run" else 8 if column.is_config else None,
            cuts_middle=column.name == "run",
        )
        for column in comparison.columns
    ]
    return table_layout.lay_out(columns, width=width, encoding=encoding)


def comparison_csv(comparison: Comparison) -> str:
    """Return the table as CSV: all digits, empty where there is nothing."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.name for column in comparison.columns])
    for row in range(len(comparison.results)):
        writer.writerow([_cell(column, row) for column in comparison.columns])
    return file.getvalue()


def comparison_json(comparison: Comparison) -> list[dict[str, Any]]:
    """Return an object per run; numbers that are not finite are null, absent keys left out."""
    return [
        {
            **{
                column.name: _plain(column.values[row])
                for column in comparison.columns
                if column.values[row] is not ABSENT
            },
            "folder": str(result.folder.path),
            "problems": list(result.problems),
        }
        for row, result in enumerate(comparison.results)
    ]


def _column(name: str, values: Sequence[Any]) -> Column:
    return Column(name=name, label=name, values=tuple(values))


def _sort_key(value: Any, descends: bool) -> tuple[int, float, str]:
    if value is None or value is ABSENT or (isinstance(value, float) and math.isnan(value)):
        return 2, 0.0, ""
    if isinstance(value, int | float):
        return 0, -value if descends else value, ""
    return 1, 0.0, show_value(value)


def _cell(column: Column, row: int) -> str:
    value = column.values[row]
    if value is ABSENT or (value is None and not column.is_config):
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
