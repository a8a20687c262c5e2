"""What must hold when a round is over; each check gives what is wrong, in words."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.job.pack import read_events, read_job, read_pack_events
from scripts.stress.storm_packs.faults import Fault
from scripts.stress.storm_packs.references import Outcome
from scripts.stress.storm_packs.storm_round import Round
from scripts.stress.storm_packs.unequal_runs import INTERVAL
from scripts.stress.storm_packs.watch import Life, Loss, Watch
from trainers.run.sections import FACTOR

LOST_NODE = ("lose_node", "node_down")
"""After these an attempt may live on beside the next one, fenced off."""
NO_SAVE = ("disk_full", "runs_eio", "runs_enoent")
"""While these last no checkpoint can be written, and whatever is then killed loses more."""
HANG_S = 120.0
"""So soon the watchdog ends an attempt that hangs, and an attempt whose samples are slow later."""
SILENT_S = 30.0
"""What is asked so long before the controller goes, or after it is back, may have no answer."""


def problems(
    this: Round,
    watch: Watch,
    faults: Sequence[Fault],
    references: Mapping[str, Outcome],
    controller_log: Path,
) -> list[str]:
    """
    Args:
        faults: That were inflicted.
        references: What each run has to come to.
        controller_log: What slurmctld has noted.
    """
    found = [
        *_outcomes(this, references),
        *_given_up(this),
        *_after_the_end(this),
        *_writes(this),
        *_requeues(this, controller_log),
        *_overlaps(watch.lives, faults),
        *_gpus(watch.lives),
        *_refused_claims(this, watch.lives, faults),
        *_losses(this, watch.losses, faults),
        *_statuses(this, watch),
        *hangs(
            this.hang_counts(),
            {name: this.slowest_data_s(name) or 0.0 for name in this.names},
            watch.lives,
            faults,
        ),
        *torn_lines(watch.torn_lines, faults),
        *errors(watch.errors, faults),
    ]
    return [f"{this.experiment.name}: {each}" for each in found]


def _outcomes(this: Round, references: Mapping[str, Outcome]) -> Iterator[str]:
    for name in this.runs.others:
        state = this.state(name)
        if state.status != "finished":
            yield f"{name} is {state.status}: {state.reason}"
            continue
        outcome = Outcome.of(this.run(name))
        if outcome.tensors != references[name].tensors:
            yield f"{name}: the tensors of the last checkpoint differ"
        if outcome.rows != references[name].rows:
            yield f"{name}: metrics.jsonl differs"


def _given_up(this: Round) -> Iterator[str]:
    crasher, budget = this.state(this.runs.crasher), this.runs.crashes
    reason = f"given up: crashed {budget + 1} times, and retries.crashed is {budget}."
    if crasher.status != "failed" or not crasher.reason.startswith(reason):
        yield f"the crasher is {crasher.status}: {crasher.reason}"
    if crasher.num_counted("crashed") != budget + 1:
        yield f"the crasher crashed {crasher.attempts} times, not {budget + 1}"


def _events(this: Round, name: str) -> list[dict[str, Any]]:
    return list(read_events(this.run(name).events))


def _after_the_end(this: Round) -> Iterator[str]:
    for name in this.names:
        is_over = False
        for event in _events(this, name):
            if is_over and event["event"] == "launched":
                yield f"{name} was launched after its end: {event}"
            is_over |= event["event"] == "finished"


def _writes(this: Round) -> Iterator[str]:
    """Checkpoints of one attempt follow each other, from where it began."""
    for name in this.names:
        newest = 0
        for event in _events(this, name):
            if event["event"] in ("started", "restored"):
                newest = event["iteration"]
            elif event["event"] == "checkpoint":
                if event["iteration"] <= newest:
                    yield f"{name}: a checkpoint at {event['iteration']} after {newest}"
                newest = event["iteration"]


def _requeues(this: Round, controller_log: Path) -> Iterator[str]:
    """Each start of a job ends with one requeue, or for good; each counts as another one."""
    text = controller_log.read_text()
    for pack in this.packs():
        job = read_job(pack)
        words = rf"^\[\S+\] .*(Requeuing|Allocate|Started).*\bJobId={job.job_id if job else None}\b"
        requeued = 0
        for word in re.findall(words, text, re.MULTILINE):
            requeued = requeued + 1 if word == "Requeuing" else 0
            if requeued > 1:
                yield f"{pack.name}: job {job} was requeued {requeued} times after one start"
        events = [each for each in read_pack_events(pack) if each["event"] == "started"]
        starts = [each["start"] for each in events if each["index"] == 0]
        if sorted(set(starts)) != starts:
            yield f"{pack.name} has started as {starts}"


def _overlaps(lives: Sequence[Life], faults: Sequence[Fault]) -> Iterator[str]:
    """Attempts at the same run."""
    for old, new in _pairs(lives):
        if old.run == new.run and (old.attempt, old.job) != (new.attempt, new.job):
            touching = [each.kind for each in faults if _touches(each, old, new.began)]
            if _overlap(old, new) and not set(touching) & set(LOST_NODE):
                yield f"{old.run}: {_named(old)} lived on beside {_named(new)}; {touching}"


def _gpus(lives: Sequence[Life]) -> Iterator[str]:
    """Attempts at other runs on the same GPU."""
    for each in lives:
        for gpu in each.gpus:
            beside = [
                other
                for other in lives
                if other.node == each.node and gpu in other.gpus and _holds_at(other, each.began)
            ]
            others = [other for other in beside if other.run != each.run]
            if each.share + sum(other.share for other in others) > 1:
                names = ", ".join(map(_named, others))
                yield f"GPU {gpu} of {each.node} was given to {_named(each)} beside {names}"


def _refused_claims(this: Round, lives: Sequence[Life], faults: Sequence[Fault]) -> Iterator[str]:
    """What the processes themselves have found to be taken."""
    path = this.runs.claims / "refused.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        claim = json.loads(line)
        holder, _, pid = claim["of"].partition(" ")
        old = next((each for each in lives if each.run == holder and int(pid) in each.pids), None)
        touching = [each for each in faults if old and _touches(each, old, claim["time"])]
        if old is None or not any(each.kind in LOST_NODE for each in touching):
            yield f"refused: {line}; what befell the holder: {[each.kind for each in touching]}"


def _losses(this: Round, losses: Iterable[Loss], faults: Sequence[Fault]) -> Iterator[str]:
    for loss in losses:
        kinds = causes(loss, faults)
        if any(each.kind in NO_SAVE for each in kinds):
            continue
        is_gentle = all(each.is_gentle for each in kinds)
        allowed = 0 if is_gentle and loss.run != this.runs.crasher else INTERVAL
        if loss.lost > allowed and loss.run != this.runs.crasher:
            what = ", ".join(each.kind for each in kinds) or "nothing"
            yield f"{loss.run}: {loss.lost} of {loss.done} iterations lost, after {what}; {loss}"


def causes(loss: Loss, faults: Iterable[Fault]) -> list[Fault]:
    """What befell the run between the launch of the attempt and its resumption."""
    return [
        each
        for each in faults
        if loss.run in each.runs
        and loss.began <= each.time + each.seconds
        and each.time < loss.restored
    ]


def _statuses(this: Round, watch: Watch) -> Iterator[str]:
    """`failed` is the last word."""
    launched: dict[str, float] = {}
    for life in watch.lives:
        launched[life.run] = max(launched.get(life.run, 0), life.began)
    words: set[str] = set()
    for name, answered, reason in watch.shown_failed:
        has_come_back = launched.get(name, 0) > answered
        if name in this.runs.others or has_come_back:
            end = ", and came back" if has_come_back else ""
            words.add(f"{name} was shown as failed{end}: {reason}")
    yield from sorted(words)


def hangs(
    alarms: Mapping[str, int],
    slowest_data_s: Mapping[str, float],
    lives: Sequence[Life],
    faults: Sequence[Fault],
) -> Iterator[str]:
    """The watchdog has ended what hung, soon, and nothing else.

    Args:
        alarms: How often it has ended an attempt of each run.
        slowest_data_s: The longest that samples of each run have taken when nothing hung.
    """
    for name, count in alarms.items():
        hung = [each for each in faults if each.kind == "hang_worker" and name in each.runs]
        if count > len(hung):
            yield f"{name}: {count} attempts ended as hung, and {len(hung)} were made to hang"
        allowed_s = HANG_S + FACTOR * slowest_data_s[name]
        for fault in hung:
            for life in lives:
                ended = life.ended or time.time()
                if life.run == name and life.began <= fault.time < ended - allowed_s:
                    yield f"{name}: {_named(life)} hung for {ended - fault.time:.0f} s"


def torn_lines(found: Iterable[tuple[float, str]], faults: Sequence[Fault]) -> Iterator[str]:
    """Only a full disk takes a part of a line."""
    full = min((each.time for each in faults if each.kind == "disk_full"), default=math.inf)
    yield from (line for moment, line in found if moment < full)


def errors(found: Iterable[tuple[float, str]], faults: Sequence[Fault]) -> Iterator[str]:
    """What went wrong while looking on, and not because Slurm was silent."""
    silent = [
        (each.time - SILENT_S, each.time + each.seconds + SILENT_S)
        for each in faults
        if each.kind == "controller_down"
    ]
    for moment, error in found:
        if not any(begin <= moment <= end for begin, end in silent):
            yield error


def _pairs(lives: Sequence[Life]) -> Iterator[tuple[Life, Life]]:
    for index, old in enumerate(lives):
        for new in lives[index + 1 :]:
            yield (old, new) if old.began <= new.began else (new, old)


def _overlap(old: Life, new: Life) -> bool:
    return _holds_at(old, new.began)


def _holds_at(life: Life, moment: float) -> bool:
    return life.began <= moment and (life.ended is None or moment < life.seen)


def _touches(fault: Fault, life: Life, until: float) -> bool:
    return life.run in fault.runs and life.began - 60 <= fault.time <= until


def _named(life: Life) -> str:
    return f"{life.run} {life.attempt} in {life.job} on {life.node} {life.gpus} {life.pids}"
