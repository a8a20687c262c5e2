"""Why a run waits, goes on or has ended, and what to do: decided from all that is known of it."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import frozen

from launcher.explain.attempt_history import Attempt
from launcher.explain.pending_reasons import PendingReason, pending_reason
from launcher.explain.run_info import RunInfo
from launcher.monitor.run_warnings import RunWarnings
from launcher.monitor.status import RunStatus
from trainers.config.checkpoint_config import CheckpointConfig
from trainers.run.lease import LeaseRecord
from trainers.run.run_state import Cause, Status


@frozen(kw_only=True)
class Budget:
    """How often a run is started again after ends of one cause."""

    cause: str
    used: int
    allowed: int | None
    """None: any number of times."""


@frozen(kw_only=True)
class QueuePosition:
    """A job that waits or runs."""

    job: str
    state: str
    nodes: tuple[str, ...]
    pending: PendingReason | None
    """Why it waits, if it does."""
    start_estimate: float | None
    """Unix time at which it is expected to start, or has started."""
    time_left_s: int | None


@frozen(kw_only=True)
class Explanation:
    """What `launch explain` tells."""

    status: RunStatus
    why: str
    advice: tuple[str, ...]
    """What to do, the first one first; empty if nothing needs to be done."""
    place: QueuePosition | None
    attempts: tuple[Attempt, ...]
    budgets: tuple[Budget, ...]
    """Since the last submission."""
    saved_iteration: int
    lost_iterations: int
    """Over all attempts: done, not saved, and to be done again."""
    holder: LeaseRecord | None
    checkpoints: tuple[str, ...]
    damaged: tuple[str, ...]
    remarks: RunWarnings
    job_events: tuple[dict[str, Any], ...]
    log: str | None
    last_lines: tuple[str, ...]
    """Of the log, if the run has failed."""


def explain(facts: RunInfo) -> Explanation:
    """Decide what to tell; asks nobody."""
    status, state = facts.status, facts.state
    place = _place(facts)
    return Explanation(
        status=status,
        why=_why(facts, place),
        advice=tuple(_advice(facts, place)),
        place=place,
        attempts=facts.attempts,
        budgets=_budgets(facts),
        saved_iteration=state.saved_iteration,
        lost_iterations=sum(attempt.lost or 0 for attempt in facts.attempts),
        holder=facts.holder,
        checkpoints=facts.checkpoints,
        damaged=facts.damaged,
        remarks=facts.remarks,
        job_events=facts.job_events,
        log=facts.log,
        last_lines=facts.last_lines if status.state == Status.FAILED else (),
    )


def _place(facts: RunInfo) -> QueuePosition | None:
    queued, job_id = facts.queued, facts.status.job_id
    if queued is None or job_id is None:
        return None
    waits = queued.state == "PENDING"
    return QueuePosition(
        job=job_id,
        state=queued.state,
        nodes=queued.nodes,
        pending=pending_reason(queued.reason, job_id) if waits else None,
        start_estimate=queued.start_estimate,
        time_left_s=queued.time_left_s,
    )


def _budgets(facts: RunInfo) -> tuple[Budget, ...]:
    if facts.retries is None:
        return ()
    allowed = attrs.asdict(facts.retries)
    stalled = Budget(
        cause="without_progress",
        used=facts.state.stalled,
        allowed=allowed.pop("without_progress"),
    )
    counted = facts.state.num_counted
    by_cause = (
        Budget(cause=cause, used=counted(cause), allowed=most) for cause, most in allowed.items()
    )
    return (*by_cause, stalled)


def _why(facts: RunInfo, place: QueuePosition | None) -> str:
    status = facts.status
    if status.state == Status.RUNNING:
        return _who_trains(facts)
    if status.state == Status.FINISHED:
        return f"all {status.num_iterations or status.iteration} iterations are done"
    if status.state == Status.PLANNED:
        return "it was never submitted"
    why = status.reason
    if place and place.pending and status.is_expected:
        why = f"{why} ({place.pending.meaning})"
    if status.state == Status.SUBMITTED and not why:
        return "its job runs, and has no place free for it yet"
    if status.state == Status.WAITING and status.is_expected and not (place or status.doubt):
        return "; ".join(filter(None, (why, "its supervisor is about to start it again")))
    return why or {Status.CANCELLED: "somebody asked for it to end"}.get(status.state, "")


def _who_trains(facts: RunInfo) -> str:
    if facts.holder is None:
        return "its processes are starting or ending"
    where = f"process {facts.holder.pid} on {facts.holder.host}"
    return f"{where} trains it, in attempt {facts.holder.attempt}"


def _advice(facts: RunInfo, place: QueuePosition | None) -> list[str]:
    status = facts.status
    again = f"launch resubmit {status.folder} --state {status.state}"
    if status.doubt:
        return [
            "ask again when Slurm answers (`scontrol ping`)",
            f"to start it elsewhere meanwhile: launch cancel {status.folder}, then submit again",
        ]
    if status.state == Status.FAILED:
        return [*_cure(facts), f"start it again, with new budgets: {again}"]
    if status.state == Status.CANCELLED or (
        status.state == Status.WAITING and not status.is_expected
    ):
        return [f"carry it on: {again}"]
    if status.state == Status.PLANNED:
        return ["submit it: launch submit FILE --cluster NAME"]
    if place and place.pending:
        return [place.pending.advice]
    return []


def _cure(facts: RunInfo) -> list[str]:
    """What may keep the run from failing again."""
    last = next((each for each in reversed(facts.attempts) if each.cause), None)
    retries = facts.retries
    if retries and facts.state.stalled >= retries.without_progress:
        return [
            "its attempts end before they have saved anything: save more often"
            f"{_than(facts.saving)}, or have longer jobs (--time)"
        ]
    cause = last.cause if last else None
    if cause == Cause.OUT_OF_MEMORY:
        return [_more_memory(facts, last.reason if last else "")]
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
            each.node for each in facts.attempts if each.cause == cause and each.node
        )
        named = f" ({', '.join(nodes)})" if nodes else ""
        return [f"its nodes{named} were lost: see `sinfo -R`, or raise retries.node_failure"]
    return [f"see the end of its log: {facts.log}"] if facts.log else []


def _than(saving: CheckpointConfig | None) -> str:
    if saving is None:
        return ""
    intervals = {"iterations": saving.every_iterations, "minutes": saving.every_minutes}
    return " than " + " or ".join(
        f"every {interval:g} {unit} (checkpoint.every_{unit})"
        for unit, interval in intervals.items()
        if interval is not None
    )


def _more_memory(facts: RunInfo, reason: str) -> str:
    if "CUDA" in reason or "OutOfMemoryError" in reason:
        return (
            "the memory of its GPU was too small: a whole GPU if it has a share of one "
            "(resources.gpus), more of them for the same batch, or a --partition with larger ones"
        )
    now = f", now {facts.resources.memory_gb:g}" if facts.resources else ""
    return f"ask for more memory: submit again with a larger resources.memory_gb{now}"
