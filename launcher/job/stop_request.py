"""Stop requests to a supervisor: from a signal, and from other nodes of the same job."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

from launcher.errors import LauncherError, is_slurm_away
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.attempt_end import StopRequest
from launcher.job.bookkeeping import PackRecords
from launcher.job.node import ThisNode
from launcher.job.own_job import own_details
from launcher.job.pack import PackEventKind, SlurmTerms
from launcher.job.stop_cause import stop_cause
from launcher.slurm import client
from launcher.slurm.jobs import JobDetails
from trainers.run.backoff import retry
from trainers.run.run_state import Cause
from trainers.stop_flag import StopFlag

logger = logging.getLogger(__name__)

_REQUEUE_MARGIN_S = 1.5
"""Kept back from a grace for the requeue itself."""
_ASK_AGAIN_S = 1.0


class JobStop(ABC):
    """Whether a supervisor is to stop, why, and how much time its members have."""

    @abstractmethod
    def is_requested(self) -> bool:
        """Return whether the supervisor is to stop; the supervisor polls this."""

    @abstractmethod
    def request(self) -> StopRequest:
        """Return why; call it only once `is_requested`. It may wait for Slurm's answer."""

    @abstractmethod
    def grace_s(self) -> float:
        """Return how long the members may take to checkpoint and exit, as far as is known."""


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
        records: PackRecords,
        *,
        num_nodes: int,
        on_final: Callable[[JobDetails], None],
    ) -> None:
        """
        Args:
            on_final: Called on a thread, while the members still stop, if Slurm ends the job for
                good: see `StopRequest.is_final`.
        """
        self._on_final = on_final
        self._records = records
        self._flag = flag
        self._folder = folder
        self._terms = terms
        self._node = node
        self._num_nodes = num_nodes
        self._started = time.time()
        self._signal_name = ""
        self._found = threading.Event()
        self._request: StopRequest | None = None

    def is_requested(self) -> bool:
        if not self._signal_name:
            self._signal_name = self._poll_signal()
            if self._signal_name:
                threading.Thread(target=self._find_cause, name="stop cause", daemon=True).start()
        return bool(self._signal_name)

    def request(self) -> StopRequest:
        """Return why, as Slurm says; wait a little for its answer, then go by the clock."""
        self._found.wait(client.SHORT_TIMEOUT_S)
        return self._so_far()

    def _so_far(self) -> StopRequest:
        return self._request or self._cause(None)

    def _find_cause(self) -> None:
        """Ask Slurm for the cause and record it: a thread, since the grace does not wait."""
        details = self._details()
        self._request = self._cause(details)
        self._records.put_event(
            PackEventKind.STOPPING,
            node=self._node.name,
            signal=self._signal_name,
            cause=self._request.cause,
            reason=self._request.reason,
        )
        self._found.set()
        logger.info("%s", self._request.reason)
        if details and self._request.is_final:
            self._on_final(details)

    def _cause(self, details: JobDetails | None) -> StopRequest:
        return stop_cause(
            self._signal_name,
            details,
            now=time.time(),
            started=self._started,
            restarts=self._node.restarts,
            time_limit_s=self._terms.time_limit_s,
            signal_lead_s=self._terms.signal_lead_s,
            grace_s=self._terms.grace_s,
        )

    def _poll_signal(self) -> str:
        """Return the signal that this or another node has received; empty so far if none."""
        if self._flag.received:
            name = self._flag.received.name
            if self._num_nodes > 1:
                self._notify_other_nodes(name)
            return name
        return self._signal_of_other_node() if self._num_nodes > 1 else ""

    def _notify_other_nodes(self, name: str) -> None:
        content = {"start": self._node.start, "heard": f"{name} on {self._node.name}"}
        self._records.replace(self._folder.stop, content)

    def _signal_of_other_node(self) -> str:
        content = self._records.latest(self._folder.stop)
        return str(content["heard"]) if content.get("start") == self._node.start else ""

    def grace_s(self) -> float:
        """Return less than Slurm gives, so that the requeue still falls within the grace.

        A job that outlives its grace and then exits becomes TIMEOUT, and Slurm never requeues it.
        """
        terms = self._terms
        request = self._so_far()
        if request.cause == Cause.TIME_LIMIT:
            return max(terms.signal_lead_s - _REQUEUE_MARGIN_S, 1)
        # Nothing is left to requeue, or there is no grace worth it: as long as Slurm allows.
        if request.requeued_by_slurm or terms.grace_s <= 2 * _REQUEUE_MARGIN_S:
            return terms.signal_lead_s
        return terms.grace_s - _REQUEUE_MARGIN_S

    def _details(self) -> JobDetails | None:
        try:
            # The signal may have ended the first command as well.
            return retry(
                partial(own_details, self._node, self._terms),
                timeout_s=_ASK_AGAIN_S,
                passes=_is_away,
            )
        except LauncherError as error:
            logger.warning("could not find out why the job is stopped: %s", error)
            return None


def _is_away(error: Exception) -> bool:
    return isinstance(error, LauncherError) and is_slurm_away(error)
