"""Ask Slurm about jobs again and again, and no more often than need be."""

from __future__ import annotations

from collections.abc import Iterable

from launcher.errors import SlurmError
from launcher.slurm import programs
from launcher.slurm.queue_view import QueueView, queue_view

MAX_AGE_S = 5.0


class JobWatch:
    """What Slurm says while one command lasts."""

    def __init__(self, max_age_s: float = MAX_AGE_S) -> None:
        self._max_age_s = max_age_s
        self._last_words: dict[str, str] = {}

    def view(self) -> QueueView:
        """The queue; every terminal of the user is shown the same for a few seconds."""
        return queue_view(self._max_age_s)

    def last_words(self, job_ids: Iterable[str]) -> dict[str, str]:
        """In which states jobs have left the queue, by id; empty words where nobody says.

        Accounting is asked once about each job, and about all new ones with one call.
        """
        wanted = set(job_ids)
        new = wanted - self._last_words.keys()
        if new:
            self._last_words |= dict.fromkeys(new, "") | _recorded(new)
        return {job_id: self._last_words[job_id] for job_id in wanted}


def _recorded(job_ids: Iterable[str]) -> dict[str, str]:
    try:
        records = programs.job_records(job_ids)
    except SlurmError:
        return {}
    return {job_id: attempts[-1].state for job_id, attempts in records.items()}
