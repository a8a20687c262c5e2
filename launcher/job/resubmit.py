"""Submit a pack again as a new job, with the options of the job that it had."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from launcher.errors import LauncherError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.bad_nodes import excluded_by, with_exclude
from launcher.job.pack import SlurmTerms, SubmittedJob, patiently, read_job, write_job
from launcher.slurm import client
from launcher.slurm.submit import submit_array

_FIRST_JOB_ONLY = ("dependency", "begin", "hold")
"""Options of sbatch that say when a pack may start at all: it has started, or was to start."""


def resubmit(
    folder: PackFolder,
    terms: SlurmTerms,
    replaces: str,
    entry_point: Callable[[str], None],
    *,
    is_ending: bool = False,
) -> str | None:
    """Submit a pack in place of its job; return the new job's id, None if an earlier call did so.

    Args:
        replaces: The job that has the pack so far.
        entry_point: The function that the new job calls, see `submit_array`.
        is_ending: That job is being killed, and cannot be requeued: the new one starts after it.

    Raises:
        LauncherError: Slurm refused, or does not answer; the pack has its job as before.
        OSError: The pack's files cannot be read or written.
    """
    before = patiently(partial(read_job, folder))
    if before and before.job_id and before.is_replaced(replaces):
        return None
    resubmissions = before.resubmissions + 1 if before else 1
    job = SubmittedJob(
        job_id="", submitted=time.time(), resubmissions=resubmissions, replaces=replaces
    )
    patiently(partial(write_job, folder, job))  # before the submission: it may start at once
    # sbatch reads options from the environment, and this one may describe the job that ends.
    for name in filter(client.is_of_job, list(os.environ)):
        del os.environ[name]
    parameters = with_exclude(
        _again(terms.parameters, replaces if is_ending else ""),
        excluded_by(folder.experiment, terms),
    )
    try:
        (job_id,) = submit_array(folder.experiment, [folder], parameters, entry_point)
    except LauncherError:
        if before:
            patiently(partial(write_job, folder, before))  # it still has the pack
        raise
    patiently(partial(write_job, folder, attrs.evolve(job, job_id=job_id)))
    return job_id


def _again(parameters: dict[str, Any], after: str) -> dict[str, Any]:
    """Return the parameters of a further job, which starts after another one has ended, if any."""
    before = parameters.get("additional_parameters", {})
    options = {name: value for name, value in before.items() if name not in _FIRST_JOB_ONLY}
    if after:
        options["dependency"] = f"afterany:{after}"
    return {**parameters, "additional_parameters": options}
