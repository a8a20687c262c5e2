"""Nodes that fail the runs of an experiment, as kept in its `nodes.jsonl`, and which are avoided.

The file holds what happened, never what follows from it: `bad_nodes` decides that anew each time.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import StrEnum
from typing import Any

import attrs
from attrs import field, frozen

from launcher.errors import LauncherError
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.member_ranks import MemberRanks
from launcher.job.node import ThisNode
from launcher.job.pack import SlurmTerms
from launcher.slurm import client
from launcher.slurm.jobs import JobRecord
from launcher.slurm.parsing import expand_hosts
from trainers import exit_codes
from trainers.run.atomic_write import append_line
from trainers.run.attempt_history import read_events

logger = logging.getLogger(__name__)

WITHIN_S = 24 * 3600.0
"""Two failures of one kind on one node within this time, and the experiment avoids the node."""
MAX_SHARE = 0.5
"""Of the usable nodes of a partition, the most that are avoided: if more seem bad, the nodes are
not what is bad."""
_FORGOTTEN = "forgotten"


class NodeFailureKind(StrEnum):
    """How a node fails a run. A run that crashes, or runs out of memory, does so on any node."""

    GPU_FAULT = "GPU fault"
    """The job has fewer GPUs than it asked for, or one of them cannot be used."""
    HANG = "hang"
    LOST = "lost"
    """Slurm gave the node up."""
    FAILED_START = "failed start"
    """The job ended before it had started a run."""


@frozen(kw_only=True)
class NodeFailure:
    """A line of `nodes.jsonl`."""

    node: str
    kind: str
    """A `NodeFailureKind`, or one of a later version."""
    time: float = field(factory=lambda: round(time.time(), 3))
    """Unix time in seconds."""
    run: str = ""
    job: str = ""
    gpus: tuple[str, ...] = ()
    """Those that the run had there."""
    reason: str = ""


class NodeHealth:
    """How this node has served the experiment, as far as its supervisor has seen.

    What has to be written and asked for that is done on a thread: a disk or a controller that
    hangs must not stop the supervisor from forwarding signals.
    """

    def __init__(self, folder: ExperimentFolder, node: ThisNode, terms: SlurmTerms | None) -> None:
        """
        Args:
            terms: None for a local job, which cannot go to another node.
        """
        self._folder = folder
        self._node = node
        self._terms = terms
        self._checks = ThreadPoolExecutor(1, thread_name_prefix="node health")
        self._last: Future[bool] | None = None
        failed = [each for each in read_node_failures(folder) if each.node == node.name]
        self.faulty_gpus = {gpu for failure in failed for gpu in failure.gpus}
        """Those on which a run has failed: another GPU is better, if it is free."""
        self.is_misplaced = self._is_bad()
        """Whether the job was started on a bad node: Slurm has not heeded its list of nodes."""

    @property
    def is_checking(self) -> bool:
        """Whether it is being found out if the job must leave: start nothing meanwhile."""
        return self._last is not None and not self._last.done()

    @property
    def must_leave(self) -> bool:
        """Whether a node of this job is a bad one by now: start nothing more here."""
        if self.is_misplaced:
            return True
        return self._last is not None and self._last.done() and self._last.result()

    def note_end(self, ranks: MemberRanks, exit_status: int) -> None:
        """Note an attempt that failed for this node.

        Args:
            ranks: Those on this node, which have ended.
            exit_status: That of the whole attempt, on all of its nodes.
        """
        if exit_status in (exit_codes.FINISHED, exit_codes.STOPPED) or self.must_leave:
            return
        failure = _failure(ranks, self._node)
        self.faulty_gpus |= set(failure.gpus) if failure else set()
        self._last = self._checks.submit(self._check, failure)

    def note_too_few_gpus(self, run: str, lack: str) -> None:
        """Note that the job has fewer GPUs here than a run needs, and so than it asked for.

        Args:
            lack: What is missing, in words.
        """
        if self._terms is not None:
            failure = NodeFailure(
                node=self._node.name,
                kind=NodeFailureKind.GPU_FAULT,
                run=run,
                job=self._node.job,
                reason=lack,
            )
            self._last = self._checks.submit(self._check, failure)

    def _check(self, failure: NodeFailure | None) -> bool:
        if failure:
            note_node_failure(self._folder, failure)
        # Also without a failure here: another node of the job may have noted one.
        return self._is_bad()

    def _is_bad(self) -> bool:
        if self._terms is None:
            return False
        bad = set(excluded_by(self._folder, self._terms)).intersection(self._node.job_nodes)
        if bad:
            logger.warning("no run is started on %s any more", ", ".join(sorted(bad)))
        return bool(bad)


def _failure(ranks: MemberRanks, node: ThisNode) -> NodeFailure | None:
    """Return the failure of a node that the exit status of its ranks tells of, if any."""
    kind = kind_of(ranks.exit_status())
    # A hang over several nodes does not say which of them stood still.
    if kind is None or (kind == NodeFailureKind.HANG and len(ranks.member.nodes) > 1):
        return None
    return NodeFailure(
        node=node.name,
        kind=kind,
        run=ranks.member.name,
        job=node.job,
        gpus=ranks.slot.gpus,
        reason=f"see {ranks.decisive_log()}",
    )


def kind_of(exit_status: int) -> NodeFailureKind | None:
    """Return the kind of failure that a trainer's exit status blames its node for; None if none."""
    if exit_status == exit_codes.NODE_FAULT:
        return NodeFailureKind.GPU_FAULT
    return NodeFailureKind.HANG if exit_status == exit_codes.HANG else None


def bad_nodes(failures: Iterable[NodeFailure], *, within_s: float = WITHIN_S) -> list[str]:
    """Return the nodes with two failures of one kind within a day of each other, the latest first.

    Such a node stays bad until it is forgotten: nobody has repaired it because a day has passed.
    """
    last: dict[tuple[str, str], float] = {}
    bad: dict[str, float] = {}
    for failure in sorted(failures, key=lambda each: each.time):
        key = failure.node, failure.kind
        if failure.time - last.get(key, float("-inf")) <= within_s:
            bad[failure.node] = failure.time
        last[key] = failure.time
    return sorted(bad, key=lambda node: -bad[node])


def nodes_to_exclude(
    bad: Sequence[str], partition: Collection[str], *, num_nodes: int = 1
) -> tuple[str, ...]:
    """Return which bad nodes a job is kept away from: it must still find nodes to run on.

    Args:
        bad: The worst first.
        partition: The usable nodes of the job's partition.
        num_nodes: Of the job.
    """
    most = min(int(len(partition) * MAX_SHARE), len(partition) - num_nodes)
    return tuple(sorted([node for node in bad if node in partition][: max(0, most)]))


def excluded_nodes(folder: ExperimentFolder, partition: str, num_nodes: int) -> tuple[str, ...]:
    """Return the nodes that a job of the experiment must not get; asks Slurm if any is bad."""
    bad = bad_nodes(read_node_failures(folder))
    if not bad:
        return ()
    try:
        usable = client.usable_nodes(partition)
    except LauncherError as error:
        logger.warning("bad nodes are not excluded (%s): %s", ", ".join(bad), error)
        return ()
    excluded = nodes_to_exclude(bad, usable, num_nodes=num_nodes)
    if left := [node for node in bad if node in usable and node not in excluded]:
        logger.warning(
            "not excluded, since too few of the %d usable nodes of partition %s would be left: %s",
            len(usable),
            partition,
            ", ".join(left),
        )
    return excluded


def excluded_by(folder: ExperimentFolder, terms: SlurmTerms) -> tuple[str, ...]:
    """Return the nodes that the job of a pack must not get."""
    return excluded_nodes(folder, terms.partition, terms.parameters.get("nodes", 1))


def with_exclude(parameters: Mapping[str, Any], nodes: Collection[str]) -> dict[str, Any]:
    """Return the parameters of a job that also keep it away from these nodes."""
    if not nodes:
        return dict(parameters)
    exclude = {"exclude": exclude_list(parameters, nodes)}
    return {**parameters, "additional_parameters": parameters["additional_parameters"] | exclude}


def exclude_list(parameters: Mapping[str, Any], nodes: Collection[str]) -> str:
    """Return the value of sbatch's `--exclude`: that of the cluster config, and these nodes."""
    before = str(parameters["additional_parameters"].get("exclude") or "")
    known = expand_hosts(before)
    return ",".join(filter(None, [before, *(node for node in nodes if node not in known)]))


def note_node_failure(folder: ExperimentFolder, failure: NodeFailure) -> None:
    """Append a failure; a disk that refuses it costs no more than a warning."""
    logger.warning("%s: %s (%s) %s", failure.node, failure.kind, failure.run, failure.reason)
    try:
        _append(folder, {"event": "failure", **attrs.asdict(failure)})
    except OSError as error:
        logger.warning("cannot write to %s: %s", folder.nodes, error)


def note_lost_node(folder: ExperimentFolder, job: str, records: Iterable[JobRecord]) -> None:
    """Note the node of a job's last start if Slurm has given it up, and it was the only one."""
    ended = [record for record in records if record.end is not None]
    if ended and ended[-1].state == "NODE_FAIL" and len(ended[-1].nodes) == 1:
        (node,) = ended[-1].nodes
        reason = "Slurm says NODE_FAIL"
        failure = NodeFailure(node=node, kind=NodeFailureKind.LOST, job=job, reason=reason)
        note_node_failure(folder, failure)


def forget_node(folder: ExperimentFolder, node: str) -> bool:
    """Let a node be used again; return whether it had failed.

    Raises:
        OSError: The file cannot be written.
    """
    if not any(failure.node == node for failure in read_node_failures(folder)):
        return False
    _append(folder, {"event": _FORGOTTEN, "time": round(time.time(), 3), "node": node})
    return True


def read_node_failures(folder: ExperimentFolder) -> list[NodeFailure]:
    """Return the failures since their nodes were last forgotten, oldest first."""
    failures: list[NodeFailure] = []
    keys = {each.name for each in attrs.fields(NodeFailure)}
    try:
        for event in read_events(folder.nodes):
            if event["event"] == _FORGOTTEN:
                failures = [each for each in failures if each.node != event.get("node")]
            elif {"node", "kind"} <= event.keys() and isinstance(event.get("time"), (int, float)):
                known = {key: event[key] for key in event.keys() & keys}
                failures.append(NodeFailure(**{**known, "gpus": tuple(known.get("gpus") or ())}))
    except OSError as error:
        logger.warning("cannot read %s: %s", folder.nodes, error)
    return failures


def _append(folder: ExperimentFolder, event: Mapping[str, Any]) -> None:
    append_line(folder.nodes, json.dumps(event).encode() + b"\n")
