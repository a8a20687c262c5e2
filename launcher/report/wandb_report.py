"""Make a report of runs at W&B."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence

from launcher.errors import LauncherError
from launcher.monitor.status_table import summary
from launcher.report.comparison import Comparison, compare
from launcher.report.differing_keys import show_number
from launcher.report.results import JudgedMetric, RunResult
from launcher.wandb_views import make_view
from trainers.run.attempt_history import Attempt
from trainers.run.run_state import Cause

TIMEOUT_S = 60.0
_MAX_ROWS = 500
"""Of the table of runs; the best come first."""
_MAX_REASON = 200


def make_wandb_report(results: Sequence[RunResult], judged: JudgedMetric) -> str:
    """Make a new report in the W&B project of the runs, and return its URL.

    Earlier reports stay as they are.

    Raises:
        LauncherError: No run is at W&B, they are in several projects, or W&B cannot be reached.
        OSError: The process that speaks to W&B cannot be started.
    """
    entity, project = _project_of(results)
    comparison = compare(results, judged).sorted_by(f"best_{judged.name}")
    experiments = list(dict.fromkeys(result.status.experiment for result in results))
    answer = make_view(
        "report",
        {
            "entity": entity,
            "project": project,
            "experiments": experiments,
            "title": f"{', '.join(experiments)}, {time.strftime('%Y-%m-%d %H:%M')}",
            "columns": _pinned_columns(comparison),
            "summary": _summary(results, judged),
            "runs": runs_markdown(comparison),
            "stops": stops_markdown(results),
        },
        timeout_s=TIMEOUT_S,
    )
    return str(answer["url"])


def runs_markdown(comparison: Comparison) -> str:
    """Return the table of runs with their swept values, loss and best metric."""
    rows = [
        [column.shown(row) for column in comparison.columns]
        for row in range(min(len(comparison.results), _MAX_ROWS))
    ]
    left = len(comparison.results) - len(rows)
    more = f"\n\n{left} more runs are in the table below." if left else ""
    return _table([column.label for column in comparison.columns], rows) + more


def stops_markdown(results: Iterable[RunResult]) -> str:
    """Return the table of causes why attempts ended before their runs were finished."""
    attempts: dict[str, list[Attempt]] = defaultdict(list)
    runs: dict[str, set[str]] = defaultdict(set)
    for result in results:
        for attempt in result.attempts:
            if attempt.cause and attempt.cause != Cause.FINISHED:
                attempts[attempt.cause].append(attempt)
                runs[attempt.cause].add(str(result.folder.path))
    if not attempts:
        return "No attempt has ended early."
    rows = []
    for cause, ended in sorted(attempts.items(), key=lambda item: -len(item[1])):
        newest = max(ended, key=lambda attempt: attempt.ended or 0.0)
        lost = sum(attempt.lost or 0 for attempt in ended)
        reason = newest.reason[:_MAX_REASON]
        rows.append([cause, str(len(ended)), str(len(runs[cause])), str(lost), reason])
    return _table(["cause", "attempts", "runs", "iterations repeated", "reason of the last"], rows)


def _project_of(results: Sequence[RunResult]) -> tuple[str | None, str]:
    projects = set()
    modes = set()
    for result in results:
        wandb = result.config.get("wandb")
        settings = wandb if isinstance(wandb, dict) else {}
        modes.add(settings.get("mode") or "disabled")
        if settings.get("mode", "disabled") != "disabled" and settings.get("project"):
            projects.add((settings.get("entity"), str(settings["project"])))
    if not projects:
        raise LauncherError(
            f"no run is at W&B: found wandb.mode {', '.join(sorted(modes))}; without --wandb, "
            "`launch report` writes a page that needs no server"
        )
    if len(projects) > 1:
        names = sorted("/".join(filter(None, each)) for each in projects)
        raise LauncherError(
            f"found runs in {len(projects)} W&B projects: {', '.join(names)}; a report is of one, "
            "so name only runs that are in it"
        )
    return projects.pop()


def _pinned_columns(comparison: Comparison) -> list[str]:
    swept = [column.name.partition(".") for column in comparison.columns if column.is_config]
    configs = [f"config:{first}.value{dot}{rest}" for first, dot, rest in swept]
    judged = comparison.judged.name
    return ["run:displayName", "run:state", *configs, "summary:iteration", f"summary:{judged}"]


def _summary(results: Sequence[RunResult], judged: JudgedMetric) -> str:
    lines = [summary([result.status for result in results])]
    best = judged.best_of(results)
    if best and (value := best.best(judged)):
        lines.append(
            f"Best run: **{_escaped(best.status.name)}**, {_escaped(judged.name)} "
            f"{show_number(value.value)} at iteration {value.iteration}."
        )
    lines.append(
        f"Tables are of {time.strftime('%Y-%m-%d %H:%M %Z')}; curves and pictures are always new."
    )
    return "\n\n".join(lines)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(text: str) -> str:
    """Return a text as Markdown in one line of a table."""
    plain = " ".join(text.split())
    return "".join(f"\\{char}" if char in "|*_`<[\\" else char for char in plain)
