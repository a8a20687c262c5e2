"""From an experiment to a job on this machine."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from launcher.clusters.cluster_config import LocalClusterConfig
from launcher.clusters.cluster_search import Cluster
from launcher.errors import DoesNotFitError, SubmissionError
from launcher.experiment.experiment import Experiment
from launcher.job.machine import Machine, this_machine
from launcher.job.pack import Member, Pack, write_pack
from launcher.submission.local_job import start_locally
from launcher.submission.options import SubmitOptions
from launcher.submission.provenance import submission_record
from launcher.submission.submission import (
    Submission,
    SubmittedPack,
    new_pack_folders,
    planned,
    restore_states,
    write_all_submitted,
)
from launcher.submission.write_runs import write_source
from trainers.config.run_config import RunConfig
from trainers.run.submission_record import SubmissionRecord


def submit_locally(
    experiment: Experiment, cluster: Cluster, config: LocalClusterConfig, options: SubmitOptions
) -> Submission:
    """Start the due runs as one job on this machine, and leave the others alone.

    Raises:
        ConfigError: A run exists and trains something else.
        DoesNotFitError: A run asks for more GPUs than this machine has. A machine without GPUs
            takes all runs, on its CPU.
        SubmissionError: The job did not start; the states of the runs are as before, and the run
            folders stay.
    """
    machine = this_machine(gpus=config.gpus, cpus=config.cpus, memory_gb=config.memory_gb)
    _check_fit(experiment.runs, machine)
    with planned(experiment, options) as (folder, runs):
        submission = Submission(folder=folder, machine=machine, runs=runs)
        if options.dry_run or not submission.due:
            return submission
        write_source(folder, experiment)
        record = submission_record(experiment, cluster=cluster.reference)
        pack = _start(submission, machine, config.grace_s, record)
        return attrs.evolve(submission, packs=(pack,))


def _check_fit(configs: Sequence[RunConfig], machine: Machine) -> None:
    wide = next((config for config in configs if config.resources.nodes > 1), None)
    if wide:
        raise DoesNotFitError(
            f"{wide.name} does not fit because resources.nodes is {wide.resources.nodes} and this "
            "is one machine; resources.nodes=1 would fit"
        )
    largest = max(configs, key=lambda config: config.resources.gpus)
    asked, present = largest.resources.gpus, len(machine.gpus)
    if 0 < present < asked:
        raise DoesNotFitError(
            f"{largest.name} does not fit because resources.gpus is {asked:g} and this machine has "
            f"{present} to give; resources.gpus={present} would fit"
        )


def _start(
    submission: Submission, machine: Machine, grace_s: float, record: SubmissionRecord
) -> SubmittedPack:
    (pack,) = new_pack_folders(submission.folder, 1)
    members = tuple(_member(run.config, machine) for run in submission.due)
    write_pack(
        pack, Pack(members=members, machine=machine, grace_s=grace_s, cluster=record.cluster)
    )
    write_all_submitted([(run, pack) for run in submission.due], record)
    try:
        start_locally(pack)
    except SubmissionError:
        restore_states(submission.due)
        raise
    return SubmittedPack(folder=pack, job_id="", runs=tuple(each.name for each in members))


def _member(config: RunConfig, machine: Machine) -> Member:
    """Return the run as a member; one that asks for more memory than there is gets all of it."""
    assert machine.memory_gb is not None
    member = Member.of(config)
    return attrs.evolve(member, memory_gb=min(member.memory_gb, machine.memory_gb))
