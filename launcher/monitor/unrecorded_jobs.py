"""The jobs of packs whose submission was cut short: Slurm may have them all the same."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from launcher.errors import SlurmError
from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.pack import SubmittedJob
from launcher.monitor.job_poller import JobPoller
from launcher.monitor.job_status import (
    NEVER_SUBMITTED,
    JobPhase,
    JobStatus,
    PackStatus,
    job_status,
)
from launcher.os_errors import sentence
from launcher.slurm.array_files import find_jobs


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
    try:
        owner = experiment.submitit.stat().st_uid
        user = None if owner == os.getuid() else str(owner)
        jobs = find_jobs(experiment, [pack.name for pack in packs], user)
    except FileNotFoundError:  # nothing was ever handed to sbatch
        return {}
    except (OSError, SlurmError) as error:
        why = sentence(error) if isinstance(error, OSError) else error
        description = f"whether Slurm has taken its job is not known: {why}"
        unknown = PackStatus(job=JobStatus(phase=JobPhase.UNKNOWN, description=description))
        return dict.fromkeys(packs, unknown)
    if not jobs:
        return {}
    queue = JobPoller(max_age_s=0).queue(owner)
    return {
        pack: PackStatus(job=job_status(SubmittedJob(job_id=jobs[pack.name], submitted=0.0), queue))
        for pack in packs
        if pack.name in jobs
    }
