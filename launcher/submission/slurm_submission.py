"""From an experiment to Slurm jobs."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from launcher.clusters.slurm_target import SlurmTarget
from launcher.clusters.submission_target import SlurmChoice, demand_of
from launcher.errors import (
    DoesNotFitError,
    SlurmError,
    SubmissionError,
    UnknownSubmissionError,
)
from launcher.experiment.code_snapshot import CodeSnapshot, write_snapshot
from launcher.experiment.experiment import Experiment
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.bad_nodes import excluded_nodes, with_exclude
from launcher.job.pack import Member, Pack, SlurmTerms, write_pack
from launcher.job.pack_job import run_pack
from launcher.packing.packing import Packing, PlannedPack, infeasible_reasons, pack
from launcher.slurm import client
from launcher.slurm.submit import submit_array
from launcher.submission.job_arrays import arrays_of
from launcher.submission.options import SubmitOptions
from launcher.submission.plan import PlannedRun
from launcher.submission.provenance import submission_record
from launcher.submission.record_jobs import record_jobs
from launcher.submission.sbatch_options import sbatch_options
from launcher.submission.submission import (
    Submission,
    SubmittedPack,
    new_pack_folders,
    planned,
    restore_states,
    write_all_submitted,
)
from launcher.submission.submitted_code import code_of, with_snapshot
from launcher.submission.write_runs import write_source

_REPORT_EVERY_S = 2.0


def submit_to_slurm(
    experiment: Experiment,
    choice: SlurmChoice,
    options: SubmitOptions,
    report: Callable[[str], None],
) -> Submission:
    """Pack the due runs into jobs and submit these; leave the other runs alone.

    Args:
        report: Called with a line of progress now and then.

    Raises:
        ConfigError: A run exists and trains something else.
        DoesNotFitError: A run asks for more than the cluster has; names every such run.
        SubmissionError: Slurm refused all jobs; the states of the runs are as before.
    """
    with planned(experiment, options) as (folder, runs):
        submission = Submission(folder=folder, runs=runs, target=choice.target)
        if not submission.due:
            return submission
        packing = _pack(submission.due, choice)
        num_nodes = max(plan.num_nodes for plan in packing.packs)
        excluded = excluded_nodes(folder, choice.target.partition, num_nodes)
        code = code_of(folder, submission.due)
        submission = attrs.evolve(submission, packing=packing, excluded_nodes=excluded, code=code)
        if options.dry_run:
            return submission
        report(f"packed {len(submission.due)} runs into {len(packing.packs)} jobs")
        write_source(folder, experiment)
        submission = _submit(submission, experiment, packing, choice, report)
    cancel_held_jobs(submission.due, report)
    return submission


def cancel_held_jobs(runs: Sequence[PlannedRun], report: Callable[[str], None]) -> None:
    """Cancel earlier jobs of the runs that Slurm holds and that have nothing left to do."""
    held = sorted({run.held_job for run in runs if run.held_job})
    if not held:
        return
    try:
        client.cancel(held, only_waiting=True)
    except SlurmError as error:
        report(
            f"could not cancel held jobs that have nothing left to do: {', '.join(held)}: {error}"
        )


def job_parameters(
    folder: ExperimentFolder, plan: PlannedPack, code: CodeSnapshot, target: SlurmTarget
) -> dict[str, Any]:
    """Return the parameters of submitit's executor for a job, as plain data."""
    optional = {
        "account": target.account,
        "qos": target.qos,
        "constraint": target.constraint,
        "array_parallelism": target.max_running or target.max_array_size,
    }
    return {
        **{key: value for key, value in optional.items() if value is not None},
        "job_name": f"launch-{folder.name}",
        "partition": target.partition,
        "time": plan.time_min,
        "nodes": plan.num_nodes,
        "ntasks_per_node": 1,
        "cpus_per_task": plan.cpus_per_node,
        "signal_delay_s": _signal_lead_s(plan, target),
        "stderr_to_stdout": True,
        "srun_args": [
            # srun does not inherit sbatch's --cpus-per-task since Slurm 22.05.
            f"--cpus-per-task={plan.cpus_per_node}",
            "--kill-on-bad-exit=1",
            # Where sbatch exports nothing to jobs (--export=NONE), srun would not to the step, too.
            "--export=ALL",
            # A site's `WaitTime` would kill the other nodes after the first clean exit.
            "--wait=0",
        ],
        "setup": setup_lines(target.setup, target.environment, code.packages),
        "additional_parameters": {
            "requeue": True,  # sites may default to JobRequeue=0
            "signal": f"{target.signal}@{_signal_lead_s(plan, target)}",
            **sbatch_options(plan, target),
        },
    }


def setup_lines(setup: Sequence[str], environment: Mapping[str, Any], packages: Path) -> list[str]:
    """Return what the shell of a job does before the step: our packages are imported first.

    What modules, the cluster config and the submitting shell have put on the PYTHONPATH follows.

    Args:
        packages: Of the code snapshot.
    """
    return [
        f"LAUNCH_CODE={shlex.quote(str(packages))}",
        *(f"export {name}={shlex.quote(str(value))}" for name, value in environment.items()),
        *setup,
        'PYTHONPATH="$LAUNCH_CODE${PYTHONPATH:+:${PYTHONPATH#"$LAUNCH_CODE":}}"',
        # submitit runs `python -m submitit.core._submit`: without PYTHONSAFEPATH the working
        # directory would be first, and a user's folder `trainers/` would hide ours.
        "export PYTHONPATH PYTHONSAFEPATH=1",
    ]


def _pack(due: Sequence[PlannedRun], choice: SlurmChoice) -> Packing:
    demands = [demand_of(run.config) for run in due]
    if infeasible_reasons(demands, choice.limits):
        reasons = infeasible_reasons(demands, choice.limits, elsewhere=choice.elsewhere())
        raise DoesNotFitError("\n".join(reasons))
    return pack(demands, choice.limits)


def _submit(
    submission: Submission,
    experiment: Experiment,
    packing: Packing,
    choice: SlurmChoice,
    report: Callable[[str], None],
) -> Submission:
    folder = submission.folder
    due = {run.config.name: run for run in submission.due}
    assert submission.code is not None
    code = write_snapshot(folder.code, submission.code)
    packs = list(zip(new_pack_folders(folder, len(packing.packs)), packing.packs, strict=True))
    members: list[tuple[PlannedRun, PackFolder]] = []
    for path, plan in packs:
        _write_pack(path, plan, due, code, choice)
        members += [(with_snapshot(due[each.demand.name], code), path) for each in plan.members]
    record = submission_record(
        experiment, cluster=choice.cluster, partition=choice.target.partition, code=code.name
    )
    write_all_submitted(members, record)
    report(f"wrote {len(members)} run folders")
    submitted: list[SubmittedPack] = []
    left = arrays_of(packs, choice.target)
    first_ids: list[str] = []
    num_calls = 0
    reported_at_s = time.monotonic()
    while left:
        array, chunk = left[0], left[0].packs
        parameters = with_exclude(
            job_parameters(folder, chunk[0][1], code, choice.target), submission.excluded_nodes
        )
        parameters = array.throttled(parameters, first_ids)
        try:
            job_ids = submit_array(folder, [path for path, _ in chunk], parameters, run_pack)
            record_jobs([path for path, _ in chunk], job_ids)
        except SubmissionError as error:
            # If Slurm has the first of them perhaps, the next command finds out.
            refused = left[isinstance(error, UnknownSubmissionError) :]
            plans = [plan for rest in refused for _, plan in rest.packs]
            restore_states([due[m.demand.name] for plan in plans for m in plan.members])
            if not submitted:
                raise
            return attrs.evolve(
                submission, packs=tuple(submitted), refusal=str(error), num_calls=num_calls
            )
        num_calls += 1
        first_ids.append(job_ids[0])
        for (path, plan), job_id in zip(chunk, job_ids, strict=True):
            names = tuple(each.demand.name for each in plan.members)
            submitted.append(SubmittedPack(folder=path, job_id=job_id, runs=names))
        left.pop(0)
        if not left or time.monotonic() > reported_at_s + _REPORT_EVERY_S:
            reported_at_s = time.monotonic()
            report(f"submitted {len(submitted)} of {len(packs)} jobs")
    return attrs.evolve(submission, packs=tuple(submitted), num_calls=num_calls)


def _write_pack(
    path: PackFolder,
    plan: PlannedPack,
    due: dict[str, PlannedRun],
    code: CodeSnapshot,
    choice: SlurmChoice,
) -> None:
    target = choice.target
    members = tuple(
        Member.of(due[each.demand.name].config, nodes=each.nodes, planned_gpus=each.gpus)
        for each in plan.members
    )
    terms = SlurmTerms(
        cluster=choice.cluster,
        partition=target.partition,
        time_limit_s=60 * plan.time_min,
        signal_lead_s=_signal_lead_s(plan, target),
        grace_s=target.grace_s,
        may_requeue=target.requeue == "scontrol",
        accounting=target.accounting,
        gpu_type=target.gpu_type if plan.gpus_per_node else None,
        has_whole_nodes=target.gpu_request == "none" and plan.gpus_per_node > 0,
        divides_memory=target.memory != "none",
        parameters=job_parameters(path.experiment, plan, code, target),
        limits=target.limits,
        options=choice.options.given,
    )
    grace_s = max(target.grace_s, terms.signal_lead_s)
    write_pack(
        path,
        Pack(
            members=members,
            machine=None,
            grace_s=grace_s,
            num_nodes=plan.num_nodes,
            code=code.name,
            slurm=terms,
        ),
    )


def _signal_lead_s(plan: PlannedPack, target: SlurmTarget) -> int:
    """Return how long before its time limit a job is signalled.

    At most a third of its time: a short job must train before it is told to stop.
    """
    return min(target.signal_lead_s, plan.time_s // 3)
