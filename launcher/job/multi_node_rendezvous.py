"""How the supervisors of several nodes start and end the ranks of one member together.

The first of its nodes leads: it calls for an attempt, the others join in and answer with the exit
status of their ranks. All of it passes through two kinds of small files in the pack's folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.pack import Member
from trainers.run.atomic_write import atomic_write

_RUNS, _OVER, _DISMISSED = "runs", "over", "dismissed"


class MemberCall:
    """The meeting point of one member in one start of the job.

    Args:
        start: Counts the starts of the job; what an earlier one has left behind is not heard.
    """

    def __init__(self, folder: PackFolder, member: Member, *, start: int) -> None:
        self._folder = folder
        self._member = member
        self._start = start

    def call(self, attempt: int) -> None:
        """Lead: start the ranks of an attempt."""
        self._write(attempt, _RUNS)

    def end(self, attempt: int) -> None:
        """Lead: the attempt is over; ranks that are left have nobody to talk to."""
        self._write(attempt, _OVER)

    def dismiss(self) -> None:
        """Lead: no other attempt will come."""
        self._write(-1, _DISMISSED)

    def called_attempt(self) -> int | None:
        """Follower: the attempt that is to run now."""
        heard = self._hear()
        return heard["attempt"] if heard.get("what") == _RUNS else None

    @property
    def is_dismissed(self) -> bool:
        return self._hear().get("what") == _DISMISSED

    def answer(self, node: int, attempt: int, exit_status: int) -> None:
        """Follower: how its ranks have ended."""
        content = {"start": self._start, "attempt": attempt, "exit_status": exit_status}
        _write(self._folder.answer(self._member.name, node), content)

    def answers(self, attempt: int) -> dict[int, int]:
        """Lead: the exit statuses of the other nodes that have answered."""
        found = {}
        for node in self._member.nodes[1:]:
            content = _read(self._folder.answer(self._member.name, node))
            if (content.get("start"), content.get("attempt")) == (self._start, attempt):
                found[node] = content["exit_status"]
        return found

    def _write(self, attempt: int, what: str) -> None:
        content = {"start": self._start, "attempt": attempt, "what": what}
        _write(self._folder.call(self._member.name), content)

    def _hear(self) -> dict[str, Any]:
        content = _read(self._folder.call(self._member.name))
        return content if content.get("start") == self._start else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as file:
        file.write(json.dumps(content).encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return content
