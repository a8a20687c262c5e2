"""Dashboards: one saved view in each W&B project of an experiment, made by its first submission."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from attrs import frozen

from launcher.errors import LauncherError
from launcher.experiment.experiment import Experiment
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.os_errors import problem_of
from launcher.wandb_views import make_view
from trainers.run.atomic_write import atomic_write
from trainers.run.group_folder import create_for_group

TIMEOUT_S = 30.0
"""How long a submission waits for all of them together."""


@frozen(kw_only=True)
class Dashboard:
    """A W&B project, and what became of its dashboard."""

    project: str
    """`entity/project`, or the project alone if the entity is the account's own."""
    url: str = ""
    problem: str = ""
    """Why there is none; empty if there is one."""

    @property
    def text(self) -> str:
        if not self.problem:
            return f"dashboard of the W&B project {self.project}: {self.url}"
        return (
            f"no dashboard in the W&B project {self.project}: {self.problem}. The runs do not need "
            "it; a later submission makes it, and with wandb.dashboard=false none tries"
        )


def make_dashboards(
    folder: ExperimentFolder, experiment: Experiment, report: Callable[[str], None]
) -> tuple[Dashboard, ...]:
    """Make the dashboards that are missing. Call it after the jobs are submitted; it never raises
    what a server, a disk or a missing package is the reason of.

    What was made is noted in the experiment's folder: a project is not asked again, and a dashboard
    that a user has deleted stays so.

    Args:
        report: Called with a line before W&B is asked.
    """
    settings = [run.wandb for run in experiment.runs]
    wanted = {
        "/".join(filter(None, (each.entity, each.project))): each
        for each in settings
        if each.mode == "online" and each.dashboard
    }
    if not wanted:
        return ()
    known = _read(folder)
    found = []
    deadline = time.monotonic() + TIMEOUT_S
    for project, wandb in wanted.items():
        if project not in known:
            report(f"looking for the dashboard of the W&B project {project}")
            request = {"entity": wandb.entity, "project": wandb.project}
            remaining = max(0.1, deadline - time.monotonic())
            try:
                answer = make_view("dashboard", request, timeout_s=remaining)
                known[project] = str(answer["url"])
                with create_for_group(folder.path), atomic_write(folder.dashboards) as file:
                    file.write(json.dumps(known, indent=1).encode())
            except LauncherError as error:
                found.append(Dashboard(project=project, problem=str(error)))
                continue
            except OSError as error:
                found.append(Dashboard(project=project, problem=problem_of(error)))
                continue
            except KeyboardInterrupt:  # the jobs are submitted, which is still to be said
                found.append(Dashboard(project=project, problem="interrupted"))
                break
        found.append(Dashboard(project=project, url=known[project]))
    return tuple(found)


def _read(folder: ExperimentFolder) -> dict[str, str]:
    try:
        data = json.loads(folder.dashboards.read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(key): str(url) for key, url in data.items()} if isinstance(data, dict) else {}
