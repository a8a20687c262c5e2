"""What Slurm says about the job that this process belongs to."""

from __future__ import annotations

import logging
import time

import attrs

from launcher.errors import LauncherError
from launcher.job.node import ThisNode
from launcher.job.pack import SlurmTerms, SubmittedJob
from launcher.job.stop_cause import is_ending
from launcher.slurm import client
from launcher.slurm.jobs import JobDetails, JobRecord
from trainers.run.backoff import delays

logger = logging.getLogger(__name__)

_RECORD_TIMEOUT_S = 1.5
"""For the accounting record of an end, which comes a moment later; the job is killed soon."""
_RECORD_PAUSES_S = 0.3, 0.6
"""Between looks at the records, at first and at most: hundreds of jobs may end at once."""
_SAME_START_S = 1.0
"""How much earlier than the controller's the recorded beginning of one start may be."""


def own_details(node: ThisNode, terms: SlurmTerms) -> JobDetails | None:
    """Return the job as the controller sees it and, if it ends, as the records do.

    Raises:
        SlurmError: The controller does not answer.
    """
    details = client.job_details(node.job, timeout_s=client.SHORT_TIMEOUT_S)
    if details and terms.accounting and is_ending(details, restarts=node.restarts):
        return attrs.evolve(details, recorded=_recorded_end(node.job, details.start_time))
    return details


def earlier_records(
    node: ThisNode, terms: SlurmTerms, submitted: SubmittedJob | None
) -> list[JobRecord]:
    """Return the records of earlier starts; if this is the first one, of the job that it replaced.

    There are none without accounting, or if that does not answer.
    """
    if not terms.accounting:
        return []
    replaced = submitted.replaces if submitted and not node.restarts else ""
    job = replaced or node.job
    try:
        return client.job_records([job]).get(job, [])
    except LauncherError as error:
        logger.warning("%s", error)
        return []


def _recorded_end(job_id: str, start_time: float | None) -> str:
    """Return the state with which a job that ends is recorded; empty if it is not, in time.

    Args:
        start_time: When this start of the job began: until its record comes, the last one is that
            of an earlier start.
    """
    deadline = time.monotonic() + _RECORD_TIMEOUT_S
    pauses_s = delays(*_RECORD_PAUSES_S)
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            records = client.job_records([job_id], timeout_s=left_s).get(job_id, [])
        except LauncherError as error:
            logger.warning("how the job ends is not known: %s", error)
            return ""
        if records and records[-1].end is not None and _is_of(records[-1], start_time):
            return records[-1].state
        time.sleep(next(pauses_s))
    return ""


def _is_of(record: JobRecord, start_time: float | None) -> bool:
    if start_time is None:
        return True
    return record.start is not None and record.start >= start_time - _SAME_START_S
