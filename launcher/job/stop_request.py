"""Signals to a job of Slurm, and what Slurm says about them."""

from __future__ import annotations

import json
import logging
import time
from abc import ABC, abstractmethod

from launcher.errors import LauncherError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.attempt_end import StopRequest
from launcher.job.node import ThisNode
from launcher.job.pack import PackEventKind, SlurmTerms, append_pack_event
from launcher.job.stop_cause import stop_cause
from launcher.slurm import client
from launcher.slurm.jobs import JobDetails
from trainers.run.atomic_write import atomic_write
from trainers.run.run_state import Cause
from trainers.stop_flag import StopFlag


class JobStop(ABC):
    """Tells a supervisor to stop, and why."""

    @abstractmethod
    def is_asked(self) -> bool: ...

    @abstractmethod
    def request(self) -> StopRequest:
        """Why; asked once it is, and after the members have been told."""

    @abstractmethod
    def grace_s(self) -> float:
        """How long the members may take to go; asked like `request`."""


class SignalStop(JobStop):
    """A signal to this process, of which no more is known than its name."""

    def __init__(self, flag: StopFlag, grace_s: float) -> None:
        self._flag = flag
        self._grace_s = grace_s

    def is_asked(self) -> bool:
        return self._flag()

    def request(self) -> StopRequest:
        received = self._flag.received
        assert received is not None
        return StopRequest(cause=Cause.PREEMPTED, reason=f"its supervisor heard {received.name}")

    def grace_s(self) -> float:
        return self._grace_s


logger = logging.getLogger(__name__)

_TO_REQUEUE_S = 1.5
_LOOK_EVERY_S = 1.0
"""How often to look whether another node was asked to stop."""


class SlurmStop(JobStop):
    """SIGTERM or the user signal to this process, or to its like on another node of the job.

    Slurm may reach some nodes of a job only; none of them can go on without the others.
    """

    def __init__(
        self,
        flag: StopFlag,
        folder: PackFolder,
        terms: SlurmTerms,
        node: ThisNode,
        *,
        num_nodes: int,
    ) -> None:
        self._flag = flag
        self._folder = folder
        self._terms = terms
        self._node = node
        self._num_nodes = num_nodes
        self._started = time.time()
        self._heard = ""
        self._look_at_s = 0.0
        self._request: StopRequest | None = None

    def is_asked(self) -> bool:
        if not self._heard:
            self._heard = self._listen()
        return bool(self._heard)

    def request(self) -> StopRequest:
        """Asks Slurm, the first time."""
        if self._request is None:
            self._request = stop_cause(
                self._heard,
                self._details(),
                now=time.time(),
                started=self._started,
                restarts=self._node.restarts,
                time_limit_s=self._terms.time_limit_s,
                signal_lead_s=self._terms.signal_lead_s,
            )
            append_pack_event(
                self._folder,
                PackEventKind.STOPPING,
                node=self._node.name,
                signal=self._heard,
                cause=self._request.cause,
                reason=self._request.reason,
            )
            logger.info("%s", self._request.reason)
        return self._request

    def _listen(self) -> str:
        """What was heard, here or elsewhere; nothing so far if empty."""
        if self._flag.received:
            heard = self._flag.received.name
            if self._num_nodes > 1:
                self._tell_others(heard)
            return heard
        if self._num_nodes == 1 or time.monotonic() < self._look_at_s:
            return ""
        self._look_at_s = time.monotonic() + _LOOK_EVERY_S
        return self._told_by_others()

    def _tell_others(self, heard: str) -> None:
        content = {"start": self._node.start, "heard": f"{heard} on {self._node.name}"}
        with atomic_write(self._folder.stop) as file:
            file.write(json.dumps(content).encode())

    def _told_by_others(self) -> str:
        try:
            content = json.loads(self._folder.stop.read_bytes())
        except FileNotFoundError:
            return ""
        return str(content["heard"]) if content["start"] == self._node.start else ""

    def grace_s(self) -> float:
        """Less than Slurm gives: a job that outlives its grace is not requeued any more."""
        terms = self._terms
        if self.request().cause == Cause.TIME_LIMIT:
            return max(terms.signal_lead_s - _TO_REQUEUE_S, 1)
        if self.request().comes_back or terms.grace_s <= 2 * _TO_REQUEUE_S:
            return terms.signal_lead_s  # as long as Slurm lets them live
        return terms.grace_s - _TO_REQUEUE_S

    def _details(self) -> JobDetails | None:
        try:
            return client.job_details(self._node.job)
        except LauncherError as error:
            logger.warning("why the job is stopped is not known: %s", error)
            return None
