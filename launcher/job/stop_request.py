"""Stop requests to a supervisor: from a signal, and from other nodes of the same job."""

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

logger = logging.getLogger(__name__)

_REQUEUE_MARGIN_S = 1.5
"""Kept back from a grace for the requeue itself."""
_POLL_OTHER_NODES_S = 1.0
"""How often to poll whether another node was asked to stop."""


class JobStop(ABC):
    """Whether a supervisor is to stop, why, and how much time its members have."""

    @abstractmethod
    def is_requested(self) -> bool:
        """Return whether the supervisor is to stop; the supervisor polls this."""

    @abstractmethod
    def request(self) -> StopRequest:
        """Return why; call it only once `is_requested`, and after the members were signalled."""

    @abstractmethod
    def grace_s(self) -> float:
        """Return how long the members may take to checkpoint and exit; call it like `request`."""


class SignalStop(JobStop):
    """A stop signal to this process, as for a local job: no scheduler knows more about it."""

    def __init__(self, flag: StopFlag, grace_s: float) -> None:
        self._flag = flag
        self._grace_s = grace_s

    def is_requested(self) -> bool:
        return self._flag()

    def request(self) -> StopRequest:
        received = self._flag.received
        assert received is not None
        return StopRequest(cause=Cause.PREEMPTED, reason=f"its supervisor received {received.name}")

    def grace_s(self) -> float:
        return self._grace_s


class SlurmStop(JobStop):
    """SIGTERM or the user signal to this process, or to the supervisor on another node of the job.

    Slurm may signal only some nodes of a job, and members that span nodes need all of them: the
    node that receives a signal passes it on through a file in the pack's folder. Both signals mean
    "checkpoint and exit": which one a preemption sends depends on `preempt_send_user_signal`.
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
        self._signal_name = ""
        self._next_poll_s = 0.0
        self._request: StopRequest | None = None

    def is_requested(self) -> bool:
        if not self._signal_name:
            self._signal_name = self._poll_signal()
        return bool(self._signal_name)

    def request(self) -> StopRequest:
        """Return why; the first call asks Slurm and records the answer in the pack's events."""
        if self._request is None:
            self._request = stop_cause(
                self._signal_name,
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
                signal=self._signal_name,
                cause=self._request.cause,
                reason=self._request.reason,
            )
            logger.info("%s", self._request.reason)
        return self._request

    def _poll_signal(self) -> str:
        """Return the signal that this or another node has received; empty so far if none."""
        if self._flag.received:
            name = self._flag.received.name
            if self._num_nodes > 1:
                self._notify_other_nodes(name)
            return name
        if self._num_nodes == 1 or time.monotonic() < self._next_poll_s:
            return ""
        self._next_poll_s = time.monotonic() + _POLL_OTHER_NODES_S
        return self._signal_of_other_node()

    def _notify_other_nodes(self, name: str) -> None:
        content = {"start": self._node.start, "heard": f"{name} on {self._node.name}"}
        with atomic_write(self._folder.stop) as file:
            file.write(json.dumps(content).encode())

    def _signal_of_other_node(self) -> str:
        try:
            content = json.loads(self._folder.stop.read_bytes())
        except FileNotFoundError:
            return ""
        return str(content["heard"]) if content["start"] == self._node.start else ""

    def grace_s(self) -> float:
        """Return less than Slurm gives, so that the requeue still falls within the grace.

        A job that outlives its grace and then exits becomes TIMEOUT, and Slurm never requeues it.
        """
        terms = self._terms
        if self.request().cause == Cause.TIME_LIMIT:
            return max(terms.signal_lead_s - _REQUEUE_MARGIN_S, 1)
        # Nothing is left to requeue, or there is no grace worth it: as long as Slurm allows.
        if self.request().requeued_by_slurm or terms.grace_s <= 2 * _REQUEUE_MARGIN_S:
            return terms.signal_lead_s
        return terms.grace_s - _REQUEUE_MARGIN_S

    def _details(self) -> JobDetails | None:
        try:
            return client.job_details(self._node.job)
        except LauncherError as error:
            logger.warning("could not find out why the job is stopped: %s", error)
            return None
