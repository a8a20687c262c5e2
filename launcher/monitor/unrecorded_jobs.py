"""The jobs of packs whose submission was cut short: Slurm may have them all the same."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from launcher.errors import SlurmError
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.pack import SubmittedJob, owner_of
from launcher.monitor.job_poller import JobPoller
from launcher.monitor.job_status import (
    NEVER_SUBMITTED,
    JobPhase,
    JobStatus,
    PackStatus,
    job_status,
)
from launcher.os_errors import sentence
from launcher.slurm.array_files import find_jobs, with_scripts


def find_unrecorded_jobs(
    statuses: Mapping[PackFolder, PackStatus], unfinished: Collection[PackFolder]
) -> dict[PackFolder, PackStatus]:
    """Return the statuses of packs that seem never to have been submitted, and may have been.

    Args:
        statuses: Of all packs, as far as their records tell.
        unfinished: The packs that have runs which are not over.
    """
    unsure: dict[ExperimentFolder, list[PackFolder]] = {}
    for pack in unfinished:
        if statuses[pack].job == NEVER_SUBMITTED and not statuses[pack].is_supervised:
            unsure.setdefault(pack.experiment, []).append(pack)
    found: dict[PackFolder, PackStatus] = {}
    for experiment, packs in unsure.items():
        found |= _find(experiment, packs)
    return found


def _find(
    experiment: ExperimentFolder, packs: Collection[PackFolder]
) -> dict[PackFolder, PackStatus]:
    by_owner: dict[int, list[PackFolder]] = {}
    try:
        owner_of_folder = experiment.submitit.stat().st_uid
        tried = with_scripts(experiment, {pack.name for pack in packs})
    except FileNotFoundError:  # nothing was ever handed to sbatch
        return {}
    except OSError as error:
        return dict.fromkeys(packs, _unknown(sentence(error)))
    for pack in packs:
        if pack.name in tried:
            owner = owner_of(pack)
            by_owner.setdefault(owner.uid if owner else owner_of_folder, []).append(pack)
    found: dict[PackFolder, PackStatus] = {}
    for uid, theirs in by_owner.items():
        found |= _find_of(uid, experiment, theirs)
    return found


def _find_of(
    uid: int, experiment: ExperimentFolder, packs: Collection[PackFolder]
) -> dict[PackFolder, PackStatus]:
    """Return the statuses of packs of one user."""
    is_others = uid != os.getuid()
    try:
        jobs = find_jobs(experiment, [pack.name for pack in packs], str(uid) if is_others else None)
    except (OSError, SlurmError) as error:
        why = sentence(error) if isinstance(error, OSError) else str(error)
        return dict.fromkeys(packs, _unknown(why))
    statuses: dict[PackFolder, PackStatus] = {}
    if is_others and os.getuid() != 0:  # root sees all jobs
        unknown = _unknown(f"it is of user {uid}, whose jobs Slurm may hide from you")
        statuses = dict.fromkeys(packs, unknown)
    if jobs:
        queue = JobPoller(max_age_s=0).queue(uid)
        for pack in packs:
            if pack.name in jobs:
                job = SubmittedJob(job_id=jobs[pack.name], submitted=0.0)
                statuses[pack] = PackStatus(job=job_status(job, queue))
    return statuses


def _unknown(why: str) -> PackStatus:
    description = f"whether Slurm has taken its job is not known: {why}"
    return PackStatus(job=JobStatus(phase=JobPhase.UNKNOWN, description=description))
