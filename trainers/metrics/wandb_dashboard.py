"""The dashboard of a W&B project: a saved workspace, made once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from wandb_workspaces import workspaces
from wandb_workspaces._graphql import execute_graphql, get_app_url
from wandb_workspaces.workspaces import internal

from trainers.metrics.wandb_panels import (
    MAX_RUNS,
    loss_panels,
    picture_panels,
    speed_panels,
    stop_panels,
    system_panels,
)

if TYPE_CHECKING:
    from wandb import Api

TITLE = "launch"
_JOB_TYPE = "train"
_QUERY = """
query View($entityName: String, $name: String, $viewName: String) {
  project(name: $name, entityName: $entityName) {
    id
    allViews(viewType: "project-view", viewName: $viewName) { edges { node { id } } }
  }
}
"""


def make_dashboard(api: Api, entity: str, request: dict[str, Any]) -> dict[str, Any]:
    """Save the dashboard of a project unless it has one: what users changed in it stays.

    Its name follows from that of the project, so that submissions at the same time make one.

    Args:
        request: Has `project`.

    Returns:
        The `url`, and whether it was `made` now.
    """
    project = str(request["project"])
    key = view_key(entity, project)
    url = f"{get_app_url(api).rstrip('/')}/{entity}/{project}?nw={key}"
    variables = {"entityName": entity, "name": project, "viewName": f"nw-{key}-v"}
    found = execute_graphql(api, _QUERY, variables)["project"]
    if found is None:  # no run has come yet
        api.create_project(project, entity)
    elif found["allViews"]["edges"]:
        return {"url": url, "made": False}
    internal.upsert_view2(dashboard_view(entity, project))
    return {"url": url, "made": True}


def view_key(entity: str, project: str) -> str:
    """Return what the URL of the dashboard ends with: 11 letters and digits, as W&B's own do."""
    return hashlib.sha256(f"launch dashboard of {entity}/{project}".encode()).hexdigest()[:11]


def dashboard_view(entity: str, project: str) -> internal.View:
    """Return the specification of the dashboard, with the runs grouped by experiment."""
    section = workspaces.Section
    workspace = workspaces.Workspace(
        entity=entity,
        project=project,
        name=TITLE,
        sections=[
            section(name="Training", panels=loss_panels(), is_open=True),
            section(name="Snapshots", panels=picture_panels(), is_open=True),
            section(name="Stops", panels=stop_panels(), is_open=True),
            section(name="Speed", panels=speed_panels(), is_open=True),
            section(name="GPUs and memory", panels=system_panels()),
        ],
        settings=workspaces.WorkspaceSettings(max_runs=MAX_RUNS),
        runset_settings=workspaces.RunsetSettings(
            # Runs of other programs are left out. The experiment is a filter to choose one by.
            filters=workspaces.And(
                workspaces.Metric("JobType") == _JOB_TYPE, workspaces.Metric("Group") != ""
            ),
            groupby=[workspaces.Metric("Group")],
            pinned_columns=[
                "run:displayName",
                "run:state",
                "summary:iteration",
                "summary:loss",
            ],
        ),
    )
    view = workspace._to_model()
    view.name = f"nw-{view_key(entity, project)}-v"
    # Grouped in the table, while curves are those of runs. There is no public setting for it.
    spec = view.spec.section
    spec.settings.use_runs_table_grouping_in_panels = False
    for each in spec.panel_bank_config.sections:
        each.local_panel_settings.use_runs_table_grouping_in_panels = False
    return view
