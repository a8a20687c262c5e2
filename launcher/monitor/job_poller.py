"""What Slurm says of the jobs of packs, asked for once per command, or once per job."""

from __future__ import annotations

from collections.abc import Iterable

from launcher.errors import SlurmError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.pack import read_job
from launcher.slurm import client
from launcher.slurm.jobs import JobRecord
from launcher.slurm.queue_cache import QueueSnapshot, queue_snapshot

MAX_AGE_S = 5.0
"""How old a cached snapshot of the queue may be."""


class JobPoller:
    """Polls Slurm for one command: caches the queue, and asks accounting only once about a job."""

    def __init__(self, max_age_s: float = MAX_AGE_S) -> None:
        self._max_age_s = max_age_s
        self._final_states: dict[str, str] = {}
        self._unanswered: dict[str, SlurmError] = {}

    def queue(self, owner: int | None = None) -> QueueSnapshot:
        """Return a snapshot of the queue; all commands of the user share one for a few seconds.

        Args:
            owner: The user id whose jobs to show; None for the user of this process.
        """
        return queue_snapshot(self._max_age_s, owner)

    def queue_of(self, pack: PackFolder) -> QueueSnapshot:
        """Return a snapshot of the queue of whoever submitted a pack.

        Raises:
            OSError: The pack's files cannot be read.
        """
        return self.queue(owner_in_queue(pack))

    def final_states(self, job_ids: Iterable[str]) -> dict[str, str]:
        """Return how jobs that have left the queue ended, by id; "" if that is not known.

        Jobs that were not asked about before share one call of `sacct`.
        """
        wanted = set(job_ids)
        new = wanted - self._final_states.keys()
        if new:
            self._final_states |= dict.fromkeys(new, "")
            try:
                self._final_states |= _recorded(new)
            except SlurmError as error:
                self._unanswered |= dict.fromkeys(new, error)
        return {job_id: self._final_states[job_id] for job_id in wanted}

    def known_final_state(self, job_id: str) -> str:
        """Return how a job ended, as for `final_states`; "" only if there is no record of it.

        Raises:
            SlurmError: Accounting did not answer, so that there may be one.
        """
        state = self.final_states([job_id])[job_id]
        if job_id in self._unanswered:
            raise self._unanswered[job_id]
        return state


def owner_in_queue(pack: PackFolder) -> int | None:
    """Return the user id that Slurm knows the job of a pack by; None if it has no job yet.

    Where nobody has recorded it, that is the owner of the file.

    Raises:
        OSError: The pack's files cannot be read.
    """
    try:
        job = read_job(pack)
    except (ValueError, TypeError, KeyError):  # damaged: whoever reads its job says so
        job = None
    try:
        return pack.job.stat().st_uid if job is None or job.uid is None else job.uid
    except FileNotFoundError:
        return None


def _recorded(job_ids: Iterable[str]) -> dict[str, str]:
    records = client.job_records(job_ids)
    return {job_id: _end_of(attempts[-1]) for job_id, attempts in records.items()}


def _end_of(record: JobRecord) -> str:
    """Return how a job ended, such as `FAILED, exit code 127`."""
    parts = [record.state]
    if record.exit_code:
        parts.append(f"exit code {record.exit_code}")
    if record.signal:
        parts.append(f"signal {record.signal}")
    return ", ".join(parts)
