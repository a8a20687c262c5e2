"""From an experiment to Slurm jobs."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from launcher.clusters.slurm_target import SlurmTarget
from launcher.clusters.submission_target import SlurmChoice, demand_of
from launcher.errors import DoesNotFitError, SlurmError, SubmissionError
from launcher.experiment.code_snapshot import CodeSnapshot, write_snapshot
from launcher.experiment.experiment import Experiment
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.bad_nodes import excluded_nodes, with_exclude
from launcher.job.pack import Member, Pack, SlurmTerms, SubmittedJob, write_job, write_pack
from launcher.job.pack_job import run_pack
from launcher.os_errors import doing, sentence
from launcher.packing.packing import Packing, PlannedPack, infeasible_reasons, pack
from launcher.slurm import client
from launcher.slurm.submit import submit_array
from launcher.submission.options import SubmitOptions
from launcher.submission.plan import PlannedRun
from launcher.submission.provenance import submission_record
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
from trainers.run.backoff import retry

_REPORT_EVERY_S = 2.0
_RECORD_TIMEOUT_S = 20.0
"""Jobs wait for their record for a minute."""


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
        "gpus_per_node": plan.gpus_per_node or None,
        "array_parallelism": target.max_running or target.max_array_size,
    }
    # submitit runs `python -m submitit.core._submit`: without PYTHONSAFEPATH the working directory
    # is first on the path, and a user's folder `trainers/` would hide ours.
    ours = {"PYTHONPATH": str(code.packages), "PYTHONSAFEPATH": "1"}
    return {
        **{key: value for key, value in optional.items() if value is not None},
        "job_name": f"launch-{folder.name}",
        "partition": target.partition,
        "time": _minutes(plan.time_s),
        "nodes": plan.num_nodes,
        "ntasks_per_node": 1,
        "cpus_per_task": plan.cpus_per_node,
        "mem": f"{math.ceil(plan.memory_gb_per_node * 1024)}M",
        "signal_delay_s": _signal_lead_s(plan, target),
        "stderr_to_stdout": True,
        "srun_args": [
            # srun does not inherit sbatch's --cpus-per-task since Slurm 22.05.
            f"--cpus-per-task={plan.cpus_per_node}",
            "--kill-on-bad-exit=1",
            # A site's `WaitTime` would kill the other nodes after the first clean exit.
            "--wait=0",
        ],
        "setup": [
            *_exports(target.environment),
            *target.setup,
            *_exports(ours),
        ],
        "additional_parameters": {
            "requeue": True,  # sites may default to JobRequeue=0
            "signal": f"{target.signal}@{_signal_lead_s(plan, target)}",
            **target.sbatch,
        },
    }


def _pack(due: Sequence[PlannedRun], choice: SlurmChoice) -> Packing:
    demands = [demand_of(run.config) for run in due]
    reasons = infeasible_reasons(demands, choice.limits, elsewhere=choice.elsewhere)
    if reasons:
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
    left = list(_chunks(packs, choice.target))
    num_calls = 0
    reported_at_s = time.monotonic()
    while left:
        chunk = left[0]
        parameters = with_exclude(
            job_parameters(folder, chunk[0][1], code, choice.target), submission.excluded_nodes
        )
        try:
            job_ids = submit_array(folder, [path for path, _ in chunk], parameters, run_pack)
            record_jobs([path for path, _ in chunk], job_ids)
        except SubmissionError as error:
            restore_states(
                [due[m.demand.name] for rest in left for _, plan in rest for m in plan.members]
            )
            if not submitted:
                raise
            return attrs.evolve(
                submission, packs=tuple(submitted), refusal=str(error), num_calls=num_calls
            )
        num_calls += 1
        for (path, plan), job_id in zip(chunk, job_ids, strict=True):
            names = tuple(each.demand.name for each in plan.members)
            submitted.append(SubmittedPack(folder=path, job_id=job_id, runs=names))
        left.pop(0)
        if not left or time.monotonic() > reported_at_s + _REPORT_EVERY_S:
            reported_at_s = time.monotonic()
            report(f"submitted {len(submitted)} of {len(packs)} jobs")
    return attrs.evolve(submission, packs=tuple(submitted), num_calls=num_calls)


def record_jobs(packs: Sequence[PackFolder], job_ids: Sequence[str]) -> None:
    """Record which job has which pack; a disk that has no room for that is waited for.

    Raises:
        SubmissionError: It cannot be written. The jobs were cancelled: they would wait for it.
    """
    for path, job_id in zip(packs, job_ids, strict=True):
        job = SubmittedJob(job_id=job_id, submitted=time.time())
        try:
            with doing(f"recording job {job_id}", path.job):
                retry(partial(write_job, path, job), timeout_s=_RECORD_TIMEOUT_S)
        except OSError as error:
            problem = f"the jobs {', '.join(job_ids)} cannot be recorded: {sentence(error)}"
            try:
                client.cancel(job_ids)
            except SlurmError as refusal:
                raise SubmissionError(f"{problem}; cancel them: {refusal}") from error
            raise SubmissionError(f"{problem}; they were cancelled") from error


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
        time_limit_s=60 * _minutes(plan.time_s),
        signal_lead_s=_signal_lead_s(plan, target),
        grace_s=target.grace_s,
        may_requeue=target.requeue == "scontrol",
        accounting=target.accounting,
        parameters=job_parameters(path.experiment, plan, code, target),
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


def _chunks(
    packs: Sequence[tuple[PackFolder, PlannedPack]], target: SlurmTarget
) -> Iterator[list[tuple[PackFolder, PlannedPack]]]:
    """Split the packs into arrays: jobs with equal resources, at most `max_array_size` each.

    submitit itself does not split at MaxArraySize. Arrays, as single submissions are slow: on a
    test cluster, 0.03 s for one array of 200 jobs, and 8.8 s for 40 jobs submitted one by one.
    """
    alike: dict[tuple[Any, ...], list[tuple[PackFolder, PlannedPack]]] = {}
    for path, plan in packs:
        alike.setdefault(_shape(plan), []).append((path, plan))
    for group in alike.values():
        for start in range(0, len(group), target.max_array_size):
            yield group[start : start + target.max_array_size]


def _shape(plan: PlannedPack) -> tuple[Any, ...]:
    asked = (plan.gpus_per_node, plan.cpus_per_node, plan.memory_gb_per_node)
    return (plan.num_nodes, *asked, _minutes(plan.time_s))


def _minutes(time_s: int) -> int:
    return math.ceil(time_s / 60)


def _signal_lead_s(plan: PlannedPack, target: SlurmTarget) -> int:
    """Return how long before its time limit a job is signalled.

    At most a third of its time: a short job must train before it is told to stop.
    """
    return min(target.signal_lead_s, plan.time_s // 3)


def _exports(variables: Mapping[str, Any]) -> Iterator[str]:
    for name, value in variables.items():
        yield f"export {name}={shlex.quote(str(value))}"
