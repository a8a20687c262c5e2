"""How the nodes of a job meet: over a member on several of them, and at the end of each.

The first of the member's nodes leads: it starts an attempt, the other nodes join it and report the
exit status of their ranks. They share only a file system, so every message is a small file in the
pack's folder, replaced atomically and polled.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.bookkeeping import PackRecords
from launcher.job.node import ThisNode
from launcher.job.pack import Member
from trainers.run.lease import is_live

_RUNS, _OVER, _DISMISSED = "runs", "over", "dismissed"
_NODE_END_POLL_S = 0.2
_TIMEOUT_S = 600.0
"""For the report of a node's end, on a disk that is full or away."""
_STOPPED_TIMEOUT_S = 1.0

logger = logging.getLogger(__name__)


class MemberRendezvous:
    """The rendezvous of one member in one start of the job.

    Nothing here waits for the disk: a message that cannot be read for now, or is missing, is as it
    was when it was last read.

    Args:
        records: Writes and reads the messages.
        start: Counts the starts of the job; files that an earlier start left behind are ignored.
    """

    def __init__(
        self, folder: PackFolder, records: PackRecords, member: Member, *, start: int
    ) -> None:
        self._folder = folder
        self._records = records
        self._member = member
        self._start = start
        self._reported: int | None = None

    def start_attempt(self, attempt: int) -> None:
        """Leader: have every node start its ranks of an attempt."""
        self._publish(attempt, _RUNS)

    def end_attempt(self, attempt: int) -> None:
        """Leader: announce that an attempt is over; ranks that remain have no peers."""
        self._publish(attempt, _OVER)

    def close(self) -> None:
        """Leader: announce that there will be no further attempt."""
        self._publish(-1, _DISMISSED)

    def current_attempt(self) -> int | None:
        """Follower: return the attempt that is to run now; None if none is."""
        state = self._poll()
        return state["attempt"] if state.get("what") == _RUNS else None

    @property
    def is_closed(self) -> bool:
        return self._poll().get("what") == _DISMISSED

    def report_exit(self, node: int, attempt: int, exit_status: int) -> None:
        """Follower: report the exit status of a node's ranks."""
        self._reported = attempt
        content = {"start": self._start, "attempt": attempt, "exit_status": exit_status}
        self._records.replace(self._folder.rendezvous_exit(self._member.name, node), content)

    def has_reported(self, attempt: int) -> bool:
        """Follower: return whether it has reported the end of this attempt."""
        return self._reported == attempt

    def exit_statuses(self, attempt: int) -> dict[int, int]:
        """Return the exit status of each follower node that has reported one."""
        found = {}
        for node in self._member.nodes[1:]:
            content = self._records.latest(self._folder.rendezvous_exit(self._member.name, node))
            if (content.get("start"), content.get("attempt")) == (self._start, attempt):
                found[node] = content["exit_status"]
        return found

    def _publish(self, attempt: int, what: str) -> None:
        content = {"start": self._start, "attempt": attempt, "what": what}
        self._records.replace(self._folder.rendezvous_state(self._member.name), content)

    def _poll(self) -> dict[str, Any]:
        content = self._records.latest(self._folder.rendezvous_state(self._member.name))
        return content if content.get("start") == self._start else {}


class NodeEnds:
    """How the first node of a job learns that the others have ended, and what they leave undone."""

    def __init__(self, folder: PackFolder, node: ThisNode, records: PackRecords) -> None:
        self._folder = folder
        self._node = node
        self._records = records

    def report(self, wants_return: bool, *, is_stopping: bool) -> None:
        """Report that this node, not the first one, has ended.

        Args:
            wants_return: Whether the job must return for a member that this node leads: it needs
                another node, or its end is not recorded.
            is_stopping: Then there is no time to wait for the disk: that this node has released its
                lease tells the first one enough.

        Raises:
            OSError: The report could not be written.
        """
        path = self._folder.node_end(self._node.index)
        self._records.replace(path, {"start": self._node.start, "wants_return": wants_return})
        try:
            self._records.flush(_STOPPED_TIMEOUT_S if is_stopping else _TIMEOUT_S, path)
        except OSError as error:
            if not is_stopping:
                raise
            logger.warning("this node has ended, without a word to the first one: %s", error)

    def wait_for_others(self, num_nodes: int, is_stopping: Callable[[], bool]) -> bool:
        """Wait until the other nodes have ended, or are to stop and their supervisors are dead.

        Returns whether one of them wants the job to return.
        """
        others, wants_return = set(range(1, num_nodes)), False
        while others:
            for node in sorted(others):
                end = self._end_of(node)
                if end or (is_stopping() and self._is_dead(node)):
                    others.remove(node)
                    wants_return |= bool(end.get("wants_return"))
            if others:
                time.sleep(_NODE_END_POLL_S)
        return wants_return

    def _end_of(self, node: int) -> dict[str, Any]:
        """Return what a node has reported in this start of the job; {} if nothing, or not yet."""
        try:
            end = dict(json.loads(self._folder.node_end(node).read_bytes()))
        except (OSError, TypeError, ValueError):
            return {}
        return end if end.get("start") == self._node.start else {}

    def _is_dead(self, node: int) -> bool:
        try:
            return not is_live(self._folder.node_lease(node))
        except OSError:
            return False
