"""A report of experiments at W&B."""

from __future__ import annotations

from typing import Any

from wandb_workspaces import expr
from wandb_workspaces.reports import v2
from wandb_workspaces.reports.v2.interface import PanelTypes

from trainers.metrics.wandb_panels import (
    loss_panels,
    picture_panels,
    speed_panels,
    stop_panels,
    system_panels,
)

_MAX_TITLE = 128
_WIDTH = 24
"""Of a report, in units of W&B's layout."""


def make_report(entity: str, request: dict[str, Any]) -> dict[str, Any]:
    """Save a new report.

    Args:
        request: Has `project`, `title`, `experiments`, the `columns` of the table of runs to pin,
            and as Markdown what was read from the folders of the runs: `summary`, `runs`, `stops`.

    Returns:
        Its `url`.
    """
    report = experiment_report(entity, request)
    report.save()
    return {"url": report.url}


def experiment_report(entity: str, request: dict[str, Any]) -> v2.Report:
    """Return the report of the runs of experiments."""

    def grid(panels: list[PanelTypes], *, columns: list[str] | None = None) -> v2.PanelGrid:
        for number, panel in enumerate(panels):
            width = _WIDTH if len(panels) == 1 else _WIDTH // 2
            place = v2.Layout(x=number % 2 * width, y=number // 2 * 8, w=width, h=8)
            panel.layout = place  # type: ignore[union-attr]  # all but an UnknownPanel have one
        runs = v2.Runset(
            entity=entity,
            project=request["project"],
            name=", ".join(request["experiments"]),
            filters=expr.And(expr.Metric("Group").isin(request["experiments"])),
            pinned_columns=columns or [],
        )
        return v2.PanelGrid(runsets=[runs], panels=panels, hide_run_sets=not columns)

    return v2.Report(
        entity=entity,
        project=request["project"],
        title=request["title"][:_MAX_TITLE],
        width="fluid",
        blocks=[
            v2.MarkdownBlock(text=request["summary"]),
            v2.H1(text="Runs"),
            v2.MarkdownBlock(text=request["runs"]),
            v2.H1(text="Curves"),
            grid(loss_panels(), columns=request["columns"]),
            v2.H1(text="Pictures"),
            grid(picture_panels()),
            v2.H1(text="Stops"),
            v2.MarkdownBlock(text=request["stops"]),
            grid(stop_panels()),
            v2.H1(text="Speed, GPUs and memory"),
            grid([*speed_panels(), *system_panels()]),
        ],
    )
