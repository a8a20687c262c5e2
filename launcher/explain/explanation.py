"""Explain why a run is waiting, running or over, and what to do: a pure function of its info."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs
from attrs import frozen

from launcher.explain.job_output import JobProblem, job_problem
from launcher.explain.pending_reasons import PendingReason, pending_reason
from launcher.explain.run_info import RunInfo
from launcher.job.pack import PackEventKind
from launcher.monitor.run_warnings import RunWarnings
from launcher.monitor.status import RunStatus
from trainers.config.checkpoint_config import CheckpointConfig
from trainers.run.attempt_history import Attempt
from trainers.run.lease import LeaseRecord
from trainers.run.run_state import Cause, Status

_PATH = re.compile(r"(?:[a-z0-9]+://|(?<![\w./])/)[^\s:'\",;]+")
"""A path or a URL in the reason of a failure."""
_OF_A_GPU = re.compile(r"GPU|CUDA|CUBLAS|CUDNN|NCCL|Xid|\bECC\b")
_EARLY = (Status.SUBMITTED, Status.WAITING, Status.FAILED)
"""The states of runs whose job may have ended before it began."""


@frozen(kw_only=True)
class Budget:
    """The retry budget of a run for one cause."""

    cause: str
    used: int
    allowed: int | None
    """None: unlimited."""


@frozen(kw_only=True)
class QueuePosition:
    """A job in the queue, pending or running."""

    job: str
    state: str
    nodes: tuple[str, ...]
    pending: PendingReason | None
    """Why it is pending; None if it is not."""
    start_estimate: float | None
    """Unix time in seconds at which it is expected to start, or has started."""
    time_left_s: int | None


@frozen(kw_only=True)
class Explanation:
    """What `launch explain` shows."""

    status: RunStatus
    why: str
    advice: tuple[str, ...]
    """What to do, most important first; empty if nothing needs to be done."""
    queue_position: QueuePosition | None
    limits: tuple[str, ...]
    """What its job could ask for at most, and whose limit that was."""
    attempts: tuple[Attempt, ...]
    budgets: tuple[Budget, ...]
    """Since the last submission."""
    saved_iteration: int
    lost_iterations: int
    """Over all attempts: done but not saved, and so repeated."""
    holder: LeaseRecord | None
    checkpoints: tuple[str, ...]
    damaged: tuple[str, ...]
    bad_nodes: tuple[str, ...]
    """Nodes that failed this experiment, and are avoided."""
    warnings: RunWarnings
    job_events: tuple[dict[str, Any], ...]
    log: str | None
    last_lines: tuple[str, ...]
    """The end of the log, if the run has failed."""
    job_log: str | None
    """The output of its job, if that ended before the run began, like `job_lines`."""
    job_lines: tuple[str, ...]
    """The end of it."""
    untold: tuple[str, ...]
    """Why messages about it did not go out, a sentence each."""
    unreadable: tuple[str, ...]
    """What could not be read, a sentence each: the rest may be incomplete."""


def explain(info: RunInfo) -> Explanation:
    """Return the explanation of a run; pure, reads no file and asks no scheduler."""
    status, state = info.status, info.state
    position = _queue_position(info)
    is_early = _ended_before_it_began(info)
    return Explanation(
        status=status,
        why=_why(info, position),
        advice=tuple(_advice(info, position)),
        queue_position=position,
        limits=info.limits,
        attempts=info.attempts,
        budgets=_budgets(info),
        saved_iteration=state.saved_iteration,
        lost_iterations=sum(attempt.lost or 0 for attempt in info.attempts),
        holder=info.holder,
        checkpoints=info.checkpoints,
        damaged=info.damaged,
        bad_nodes=info.bad_nodes,
        warnings=info.warnings,
        job_events=info.job_events,
        log=info.log,
        last_lines=info.last_lines if status.state == Status.FAILED and not is_early else (),
        job_log=info.job_log if is_early else None,
        job_lines=info.job_lines if is_early else (),
        untold=info.untold,
        unreadable=info.unreadable,
    )


def _ended_before_it_began(info: RunInfo) -> bool:
    """Return whether its job has ended, at least once, before the run began in it."""
    if info.job_log is None or info.status.state not in _EARLY:
        return False
    ends = any(event["event"] == PackEventKind.STEP_ENDED for event in info.job_events)
    return ends or not info.status.is_expected


def _queue_position(info: RunInfo) -> QueuePosition | None:
    queued, job_id = info.queued, info.status.job_id
    if queued is None or job_id is None:
        return None
    is_pending = queued.state == "PENDING"
    return QueuePosition(
        job=job_id,
        state=queued.state,
        nodes=queued.nodes,
        pending=pending_reason(queued.reason, job_id, info.exceeded) if is_pending else None,
        start_estimate=queued.start_estimate,
        time_left_s=queued.time_left_s,
    )


def _budgets(info: RunInfo) -> tuple[Budget, ...]:
    if info.retries is None:
        return ()
    allowed = attrs.asdict(info.retries)
    stalled = Budget(
        cause="without_progress",
        used=info.state.stalled,
        allowed=allowed.pop("without_progress"),
    )
    counted = info.state.num_counted
    by_cause = (
        Budget(cause=cause, used=counted(cause), allowed=most) for cause, most in allowed.items()
    )
    return (*by_cause, stalled)


def _why(info: RunInfo, position: QueuePosition | None) -> str:
    status = info.status
    if status.state == Status.RUNNING:
        return status.reason or _who_trains(info)
    if status.state == Status.FINISHED:
        return f"all {status.num_iterations or status.iteration} iterations are done"
    if status.state == Status.PLANNED:
        return "it was never submitted"
    why = status.reason
    if position and position.pending and status.is_expected:
        why = f"{why} ({position.pending.meaning})"
    if problem := _job_problem(info):
        return "; ".join(filter(None, (why, problem.meaning)))
    if status.state == Status.SUBMITTED and not why:
        return "its job runs, and has no free slot for it yet"
    if status.state == Status.WAITING and status.is_expected and not (position or status.doubt):
        return "; ".join(filter(None, (why, "its supervisor is about to start it again")))
    return why or {Status.CANCELLED: "it was asked to end"}.get(status.state, "")


def _job_problem(info: RunInfo) -> JobProblem | None:
    return job_problem(info.job_lines) if _ended_before_it_began(info) else None


def _who_trains(info: RunInfo) -> str:
    if info.holder is None:
        return "its processes are starting or ending"
    where = f"process {info.holder.pid} on {info.holder.host}"
    return f"{where} trains it, in attempt {info.holder.attempt}"


def _advice(info: RunInfo, position: QueuePosition | None) -> list[str]:
    status = info.status
    resubmit = f"launch resubmit {status.folder} --state {status.state}"
    problem = _job_problem(info)
    first = [problem.advice] if problem else []
    if status.state == Status.UNREADABLE:
        return [f"ask again once its files can be read: {status.folder}"]
    if status.doubt:
        return [
            "ask again when Slurm answers (`scontrol ping`)",
            f"to start it elsewhere meanwhile: launch cancel {status.folder}, then submit again",
        ]
    if status.state == Status.FAILED:
        return [*(first or _remedy(info)), f"start it again, with new budgets: {resubmit}"]
    if status.state == Status.WAITING and not status.is_expected:
        heal = [f"submit its job again as it was: launch status --heal {status.folder}"]
        return [*first, *(heal if status.job_id and not first else []), f"resume it: {resubmit}"]
    if status.state == Status.CANCELLED:
        return [*first, f"resume it: {resubmit}"]
    if status.state == Status.PLANNED:
        return ["submit it: launch submit FILE --cluster NAME"]
    if position and position.pending:
        return [*first, position.pending.advice]
    return first


def _remedy(info: RunInfo) -> list[str]:
    """Return what may keep the run from failing again, by the cause of its last end."""
    last = next((each for each in reversed(info.attempts) if each.cause), None)
    retries = info.retries
    if retries and info.state.stalled >= retries.without_progress:
        return [
            "its attempts end before they have saved anything: save more often"
            f"{_than_now(info.saving)}, or have longer jobs (--time)"
        ]
    cause, reason = (last.cause, last.reason) if last else (None, "")
    if cause == Cause.OUT_OF_MEMORY:
        return [_more_memory(info, reason)]
    if cause == Cause.TIME_LIMIT:
        return [
            "its jobs reached their time limit more often than retries.time_limit allows: leave "
            "that out, or ask for longer jobs (--time)"
        ]
    if cause == Cause.PREEMPTED:
        return [
            "it was preempted more often than retries.preempted allows: leave that out, or take a "
            "--partition whose jobs are not preempted"
        ]
    if cause == Cause.NODE_FAILURE:
        nodes = dict.fromkeys(
            each.node for each in info.attempts if each.cause == cause and each.node
        )
        named = f" ({', '.join(nodes)})" if nodes else ""
        if _OF_A_GPU.search(reason):
            return [
                f"a GPU of its nodes{named} could not be used: start it again on other nodes "
                "(`launch nodes` lists those that are avoided), and report it to an administrator, "
                "with what `nvidia-smi -q` and `dmesg` say there"
            ]
        return [
            f"its nodes{named} were lost: see `sinfo -R` and `launch nodes`, or raise "
            "retries.node_failure"
        ]
    if cause == Cause.UNAVAILABLE:
        return [_look_at(_PATH.findall(reason), last.node if last else None)]
    if cause == Cause.NON_FINITE:
        return [
            "look at the sample that the reason names; then a lower learning rate, "
            "max_gradient_norm, precision bf16 or fp32, or non_finite: skip or rewind"
        ]
    if cause == Cause.HANG:
        where = f" on {last.node}" if last and last.node else ""
        return [
            f"its log shows where each thread stood ({info.log}; other ranks' are beside it). "
            f"Look at the storage and the node{where} first; a hang in user code returns at the "
            "same place"
        ]
    return [f"see the end of its log: {info.log}"] if info.log else []


def _look_at(paths: Sequence[str], node: str | None) -> str:
    what = " and ".join(dict.fromkeys(paths)) or "its data and its folder"
    where = f" on {node}" if node else ""
    return (
        f"look whether {what} can be read and written{where} and has room (`ls`, `df`). Attempts "
        "wait for data trainer.reading.timeout_s seconds, and start again retries.unavailable times"
    )


def _than_now(saving: CheckpointConfig | None) -> str:
    if saving is None:
        return ""
    intervals = {"iterations": saving.every_iterations, "minutes": saving.every_minutes}
    return " than " + " or ".join(
        f"every {interval:g} {unit} (checkpoint.every_{unit})"
        for unit, interval in intervals.items()
        if interval is not None
    )


def _more_memory(info: RunInfo, reason: str) -> str:
    if "CUDA" in reason or "OutOfMemoryError" in reason:
        return (
            "the memory of its GPU was too small: a whole GPU if it has a share of one "
            "(resources.gpus), more of them for the same batch, or a --partition with larger ones"
        )
    now = f", now {info.resources.memory_gb:g}" if info.resources else ""
    return f"ask for more memory: submit again with a larger resources.memory_gb{now}"
