"""What a submission came to, for people and for programs."""

from __future__ import annotations

from typing import Any

from launcher.plan import PlannedRun
from launcher.submission import Submission
from launcher.tables import short, table


def report_text(submission: Submission) -> str:
    """The placement of every run, and how to follow it."""
    folder = short(submission.folder.path)
    rows = [
        (
            run.config.name,
            _action(run, submission),
            _slot(run, submission),
            short(run.folder.path),
        )
        for run in submission.runs
    ]
    lines = [
        *notices(submission),
        table(("RUN", "ACTION", "SLOT", "FOLDER"), rows),
        f"{len(submission.due)} of {len(rows)} to do, at most {max_at_once(submission)} at once"
        if submission.due
        else "nothing to do: all runs are finished or on their way",
    ]
    if submission.pack:
        lines += [
            f"started in the background as {short(submission.pack.path)}",
            f"watch: launch status {folder}",
            f"end:   launch cancel {folder}",
        ]
    return "\n".join(lines)


def report_json(submission: Submission) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "experiment": submission.folder.name,
        "folder": str(submission.folder.path),
        "pack": str(submission.pack.path) if submission.pack else None,
        "max_at_once": max_at_once(submission),
        "notices": notices(submission),
        "runs": [
            {
                "name": run.config.name,
                "folder": str(run.folder.path),
                "state": run.state,
                "due": run.is_due,
                "slot": _slot(run, submission),
            }
            for run in submission.runs
        ],
    }


def notices(submission: Submission) -> list[str]:
    """What the user may not expect."""
    if submission.machine.gpus or not any(run.config.resources.gpus for run in submission.due):
        return []
    return ["this machine has no GPU to give: the runs go on the CPU"]


def max_at_once(submission: Submission) -> int:
    """How many of the due runs go on together if nothing else does; 0 if none is due."""
    sizes = [(run.config.resources.gpus, run.config.resources.cpus) for run in submission.due]
    machine = submission.machine
    together = max((machine.max_runs(gpus=gpus, cpus=cpus) for gpus, cpus in sizes), default=0)
    return min(together, len(sizes))


def _action(run: PlannedRun, submission: Submission) -> str:
    if not run.is_due:
        return f"none: {run.state}"
    goal = "submitted" if submission.pack else "to submit"
    return goal if run.state == "planned" else f"{goal}: was {run.state}"


def _slot(run: PlannedRun, submission: Submission) -> str:
    resources = run.config.resources
    if submission.machine.uses_gpus(resources.gpus):
        return f"{resources.gpus} of {len(submission.machine.gpus)} GPUs"
    cores = len(submission.machine.cores)
    return f"{min(resources.cpus, cores)} of {cores} cores"
