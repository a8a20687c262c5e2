"""The result of a submission, as text and as JSON."""

from __future__ import annotations

from typing import Any

import attrs

from launcher.submission.packing_report import packing_json, packing_lines, waiting_notice
from launcher.submission.plan import PlannedRun
from launcher.submission.submission import Submission
from launcher.submission.submitted_code import code_notices
from launcher.tables import finite, short, table
from trainers.run.run_state import Status


def report_text(submission: Submission) -> str:
    """Return the placement of every run, and the commands to watch and cancel it."""
    lines = _local_lines(submission) if submission.machine else _slurm_lines(submission)
    lines += [dashboard.text for dashboard in submission.dashboards]
    return "\n".join([*lines, *_advice(submission)])


def report_json(submission: Submission) -> dict[str, Any]:
    """Return the same as plain data."""
    report: dict[str, Any] = {
        "dashboards": list(map(attrs.asdict, submission.dashboards)),
        "experiment": submission.folder.name,
        "folder": str(submission.folder.path),
        "notices": notices(submission),
        "packs": [
            {"folder": str(pack.folder.path), "job": pack.job_id or None, "runs": list(pack.runs)}
            for pack in submission.packs
        ],
        "refusal": submission.refusal or None,
        "runs": [
            {
                "name": run.config.name,
                "folder": str(run.folder.path),
                "state": run.state,
                "due": run.is_due,
            }
            for run in submission.runs
        ],
    }
    if submission.machine:
        report["max_at_once"] = max_at_once(submission)
    if submission.target:
        report["target"] = attrs.asdict(
            submission.target, value_serializer=lambda _, __, value: finite(value)
        )
        report["submission_calls"] = submission.num_calls
    if submission.code:
        report["code"] = {
            "installed": list(submission.code.installed),
            "left_out": list(submission.code.left_out),
            "own_packages": list(submission.code.own_packages),
        }
    if submission.packing:
        report["packing"] = packing_json(submission.packing)
    return report


def notices(submission: Submission) -> list[str]:
    """Return what the user may not expect."""
    found = []
    machine = submission.machine
    if machine and not machine.gpus and any(run.config.resources.gpus for run in submission.due):
        found.append("this machine has no GPU to give: the runs use the CPU")
    shares = any(0 < run.config.resources.gpus < 1 for run in submission.due)
    if machine and machine.gpus and not machine.shares_gpus and shares:
        found.append(
            "the GPUs of this machine take one process each (compute mode EXCLUSIVE_PROCESS): runs "
            "with a share of one have it to themselves, one after the other"
        )
    if machine and machine.memory_gb is not None:
        most = max((run.config.resources.memory_gb for run in submission.due), default=0.0)
        if most > machine.memory_gb:
            found.append(
                f"runs ask for up to {most:g} GB of memory, and this machine has "
                f"{machine.memory_gb:g}: such a run goes alone, and may run out of it"
            )
    if submission.excluded_nodes:
        found.append(
            f"not on {', '.join(submission.excluded_nodes)}, where this experiment failed: see "
            f"launch nodes {short(submission.folder.path)}"
        )
    if submission.target and submission.due:
        found += submission.target.notes
        if submission.packing and (notice := waiting_notice(submission.packing, submission.target)):
            found.append(notice)
    if submission.code:
        found += code_notices(submission.code)
    unknown = [run.unknown_because for run in submission.runs if run.unknown_because]
    if unknown:
        noun = "1 run is" if len(unknown) == 1 else f"{len(unknown)} runs are"
        found.append(
            f"{noun} left alone: {unknown[0]}. Submit again later, or `launch cancel` first the "
            "runs that are to start without their earlier job"
        )
    return found


def max_at_once(submission: Submission) -> int:
    """Return how many due runs train at once if the machine is otherwise idle; 0 if none is due."""
    machine = submission.machine
    assert machine is not None
    asked = [run.config.resources for run in submission.due]
    at_once = (
        machine.max_runs(gpus=each.gpus, cpus=each.cpus, memory_gb=each.memory_gb) for each in asked
    )
    return min(max(at_once, default=0), len(asked))


def _local_lines(submission: Submission) -> list[str]:
    rows = [
        (
            run.config.name,
            _action(run, submission),
            _slot(run, submission),
            short(run.folder.path),
        )
        for run in submission.runs
    ]
    at_once = (
        f"{len(submission.due)} of {len(rows)} to do, at most {max_at_once(submission)} at once"
    )
    lines = [*notices(submission), table(("RUN", "ACTION", "SLOT", "FOLDER"), rows)]
    if submission.due:
        lines.append(at_once)
    for pack in submission.packs:
        lines.append(f"started in the background as {short(pack.folder.path)}")
    return lines


def _slurm_lines(submission: Submission) -> list[str]:
    lines = notices(submission)
    if submission.packing and submission.target:
        lines += packing_lines(submission.packing, submission.target)
    others = [run for run in submission.runs if not run.is_due]
    if others and submission.due:
        lines.append(
            f"{len(others)} of {len(submission.runs)} runs left alone: already finished, queued or "
            "running"
        )
    if submission.packs:
        ids = dict.fromkeys(pack.job_id.partition("_")[0] for pack in submission.packs)
        calls = "1 call" if submission.num_calls == 1 else f"{submission.num_calls} calls"
        shown = ", ".join(list(ids)[:8]) + (", …" if len(ids) > 8 else "")
        lines.append(f"submitted {len(submission.packs)} jobs with {calls}: {shown}")
    return lines


def _advice(submission: Submission) -> list[str]:
    folder = short(submission.folder.path)
    if not submission.due:
        return ["nothing to do: all runs are already finished, queued or running"]
    if not submission.packs:
        return []
    return [f"watch: launch status {folder}", f"end:   launch cancel {folder}"]


def _action(run: PlannedRun, submission: Submission) -> str:
    if not run.is_due:
        return f"none: {run.state}"
    goal = "submitted" if submission.packs else "to submit"
    return goal if run.state == Status.PLANNED else f"{goal}: was {run.state}"


def _slot(run: PlannedRun, submission: Submission) -> str:
    resources, machine = run.config.resources, submission.machine
    assert machine is not None
    if machine.uses_gpus(resources.gpus):
        return f"{resources.gpus:g} of {len(machine.gpus)} GPUs"
    cores = len(machine.cores)
    return f"{min(resources.cpus, cores)} of {cores} cores"
