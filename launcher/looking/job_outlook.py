"""Whether the scheduler's job of a pack may still come to the runs of the pack."""

from __future__ import annotations

from attrs import frozen

from launcher.job.submitted_job import SubmittedJob
from launcher.slurm.queue_view import QueueView

SETTLING_S = 5.0
"""So much later than the submission, a view shows the job: clocks differ, and Slurm takes time."""
_HELD = "requeued held"
"""The end of Slurm's reason for keeping back a job whose launch has failed."""
SUBMITTING_S = 60.0
"""A job may have been submitted, and its id not be known yet, for so long."""


@frozen(kw_only=True)
class JobOutlook:
    """What is to be expected of a job."""

    phase: str
    """`none` there is none; `queued` it waits or runs; `held` it waits for somebody to release it,
    since a node could not start it; `gone` it does neither; `unknown`."""
    job_id: str = ""
    job_state: str = ""
    """Slurm's word for it, such as PENDING; empty unless it is queued or held."""
    words: str = ""
    """The same for a person to read."""

    @property
    def is_expected(self) -> bool:
        """Whether it may yet do something."""
        return self.phase in ("queued", "unknown")


NO_JOB = JobOutlook(phase="none")
IN_SUBMISSION = JobOutlook(phase="unknown", words="its job is being submitted")
NEVER_SUBMITTED = JobOutlook(phase="gone", words="its submission was interrupted")


def job_outlook(job: SubmittedJob, view: QueueView, *, last_word: str = "") -> JobOutlook:
    """Judge a job by a view that is older than what is known of its submission.

    Args:
        last_word: The state in which accounting has it; empty if it does not say.
    """
    if not job.job_id:
        is_recent = view.time < job.submitted + SUBMITTING_S
        return IN_SUBMISSION if is_recent else NEVER_SUBMITTED
    name = f"its job {job.job_id}"
    queued = view.jobs.get(job.job_id)
    if view.error is not None:
        words = f"whether {name} is in the queue is not known, as Slurm does not answer"
        return JobOutlook(phase="unknown", job_id=job.job_id, words=f"{words}: {view.error}")
    if queued:
        words = _in_queue(name, queued.state, queued.reason)
        is_held = queued.state == "PENDING" and (queued.reason or "").endswith(_HELD)
        phase = "held" if is_held else "queued"
        return JobOutlook(phase=phase, job_id=job.job_id, job_state=queued.state, words=words)
    if view.time < job.submitted + SETTLING_S:
        words = f"{name} was submitted a moment ago"
        return JobOutlook(phase="unknown", job_id=job.job_id, words=words)
    how = f" ({last_word})" if last_word else ""
    return JobOutlook(phase="gone", job_id=job.job_id, words=f"{name} has left the queue{how}")


def _in_queue(name: str, state: str, reason: str | None) -> str:
    if state == "PENDING":
        return f"{name} waits in the queue{f': {reason}' if reason else ''}"
    if state == "RUNNING":
        return f"{name} is running"
    return f"{name} is in the queue: {state}"
