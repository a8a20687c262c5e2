"""What becomes of a job when a line of `setup` in the cluster config has failed.

That is a failed start of its own kind. A wrong line fails on every node, and so no node is blamed
for it; but a module or a file system may be missing on this one. So the job is tried once more,
elsewhere, and is given up when the setup fails again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from launcher.errors import LauncherError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job.bad_nodes import bad_nodes, exclude_list, nodes_to_exclude, read_node_failures
from launcher.job.bookkeeping import PackRecords
from launcher.job.node import ThisNode
from launcher.job.pack import Pack, PackEventKind, SlurmTerms, read_job
from launcher.job.pack_job import run_pack
from launcher.job.requeue import JobRequeue
from launcher.job.unfinished_members import mark_ended, unfinished
from launcher.notify.run_ends import GIVEN_UP
from launcher.slurm import client
from trainers.run.run_state import Status
from trainers.stop_flag import SIGNALS

logger = logging.getLogger(__name__)

_MAX_FAILED_SETUPS = 2
"""In a row; then the job is given up."""


def end_failed_setup(
    folder: PackFolder,
    pack: Pack,
    records: PackRecords,
    node: ThisNode,
    earlier: Sequence[Mapping[str, Any]],
    *,
    line: int,
    status: int,
) -> bool:
    """Requeue the job or give it up; return whether it runs again.

    Args:
        earlier: The events of the pack, oldest first.
        line: Which line of the setup has failed, counted from 1; 0 if that is not known.
        status: Its exit code.
    """
    terms = pack.slurm
    assert terms is not None
    error = _error(terms, line, status)
    has_failed = status not in (128 + signum for signum in SIGNALS)  # else Slurm has stopped it
    details = {"setup": error} if has_failed else {}
    records.put_event(
        PackEventKind.STEP_ENDED, job=node.job, status=status, node=node.name, **details
    )
    left = unfinished(folder, pack.members)
    kept_from = ""
    if has_failed:
        nodes = [*failed_setups(earlier), node.name]
        if len(nodes) >= _MAX_FAILED_SETUPS:
            where = " and then on ".join(nodes)
            mark_ended(
                folder,
                left,
                status=Status.FAILED,
                reason=f"{GIVEN_UP}its job could not start on {where}: {error}. Correct `setup` in "
                f"the cluster config {terms.cluster}, or append `|| true` to a line that may fail; "
                "then submit again",
            )
            left = []
        else:
            reason = f"its job could not start on {node.name}: {error}"
            mark_ended(folder, left, status=Status.WAITING, reason=reason)
        kept_from = _kept_from(folder, pack, terms, node) if left else ""
    requeue = JobRequeue(folder, records, terms, node, run_pack)
    if not left:
        requeue.end_for_good()
        return False
    if not requeue.requeue(left):
        if requeue.problem:
            requeue.give_up(left)
        return False
    if kept_from:
        try:
            job = read_job(folder)  # a new one, where Slurm has refused the requeue
            client.exclude_nodes(job.job_id if job and job.job_id else node.job, kept_from)
        except (LauncherError, OSError, ValueError) as error:
            logger.warning("%s: it may start on %s again: %s", folder.name, node.name, error)
    return True


def failed_setups(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the nodes on which the setup has failed since a member began last, oldest first."""
    nodes: list[str] = []
    for event in events:
        if event["event"] == PackEventKind.BEGAN:
            nodes = []
        elif event["event"] == PackEventKind.STEP_ENDED and "setup" in event:
            nodes.append(event["node"])
    return nodes


def _error(terms: SlurmTerms, line: int, status: int) -> str:
    lines = terms.parameters["setup"]
    if 0 < line <= len(lines):
        return f"the setup line `{lines[line - 1]}` failed with exit code {status}"
    return f"a setup line ended the job with exit code {status}"


def _kept_from(folder: PackFolder, pack: Pack, terms: SlurmTerms, node: ThisNode) -> str:
    """Return the nodes to keep the job from, this one among them if there are others."""
    bad = [node.name, *bad_nodes(read_node_failures(folder.experiment))]
    try:
        usable = client.usable_nodes(terms.partition)
    except LauncherError as error:
        logger.warning("which other nodes there are is not known: %s", error)
        return ""
    nodes = nodes_to_exclude(bad, usable, num_nodes=pack.num_nodes)
    return exclude_list(terms.parameters, nodes) if nodes else ""
