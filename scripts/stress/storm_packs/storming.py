"""A round from its submission to its checks, with faults all the while."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from scripts.slurm_sandbox.sandbox import Sandbox
from scripts.stress.storm_packs.checks import causes, problems
from scripts.stress.storm_packs.faults import Faults
from scripts.stress.storm_packs.kinds import INFLICTIONS
from scripts.stress.storm_packs.outside import Outside
from scripts.stress.storm_packs.references import Outcome
from scripts.stress.storm_packs.storm_round import Round
from scripts.stress.storm_packs.watch import Watch
from scripts.workloads.fault_windows import VARIABLE

PAUSE_S = 0.3
CALM_S = 360.0
"""The runs must end so long after the last fault."""
STRANDED_S = 15.0
QUEUE_S = 60.0
"""The queue must be empty so long after the last run has ended, and no process left."""


@frozen(kw_only=True)
class Result:
    """What a round has come to."""

    seconds: float
    faults: Counter[str]
    healed: Counter[str]
    """Nodes that Slurm had set aside, by the state they were in."""
    attempts: Counter[str]
    """By their causes, of all runs."""
    lost: Counter[str]
    """Iterations, by the faults that cost them; of the runs that do not crash by themselves."""
    losses: int
    """Attempts that were followed by another one."""
    released: int
    """Times that Slurm had put a job on hold, since a node could not start it."""
    resubmitted: int
    """Jobs that Slurm has ended in their next start, with what was left of the one before."""
    num_statuses: int
    problems: list[str]


def weather(
    sandbox: Sandbox,
    this: Round,
    references: Mapping[str, Outcome],
    *,
    draw: random.Random,
    kinds: dict[str, float],
    every_s: float,
    goes_on: Callable[[int], bool],
    say: Callable[[str], None],
    outside: Outside | None = None,
) -> Result:
    """Submit, inflict, wait for the end, and look whether everything is as it must be.

    Args:
        references: What each run has to come to.
        every_s: Between two faults, in the mean.
        goes_on: Whether there are to be more faults, given how many there were.
    """
    began = time.monotonic()
    log = sandbox.folder / "log" / "slurmctld.log"
    resubmitted = released = 0
    with Watch([this.run(name) for name in this.names], this.status) as watch:
        for done in this.submit():
            if done.returncode:
                raise RuntimeError(f"launch submit: {done.returncode}\n{done.stdout}{done.stderr}")
        faults = Faults(sandbox, this, watch, outside, draw, INFLICTIONS, kinds)
        last = next_at = time.monotonic() + draw.expovariate(1 / every_s)
        while left := this.left():
            now = time.monotonic()
            faults.tend()
            if goes_on(len(faults.past)):
                last = now
                if now >= next_at and (fault := faults.inflict()):
                    next_at = now + draw.expovariate(1 / every_s)
                    say(f"{fault.kind}: {fault.what}")
                    last = time.monotonic()
            for job in _held(sandbox):
                sandbox.run("scontrol", "release", job)  # what `launch explain` says is to be done
                say(f"released, as a node could not start it: {job}")
                released += 1
            if (stranded := _stranded(watch)) and not faults.is_disk_full:
                jobs = {job for _, job in stranded.values()}
                if not all(_ended_by_slurm(log, job) for job in jobs):
                    faults.problems.append(f"{this.experiment.name}: left behind: {stranded}")
                    break
                again = this.resubmit()
                codes = ", ".join(str(each.returncode) for each in again)
                say(f"submitted again, as Slurm has ended {', '.join(jobs)}: {codes}")
                resubmitted += len(jobs)
                watch.stranded.clear()
            if now > last + CALM_S:
                faults.problems.append(f"{this.experiment.name}: in the end not over: {left}")
                break
            time.sleep(PAUSE_S)
        faults.make_good()
        faults.problems += _queue_problems(this)
        if outside:
            faults.problems += _processes_left(this, outside)
    found = [*faults.problems, *problems(this, watch, faults.past, references, log)]
    lost: Counter[str] = Counter()
    for loss in [each for each in watch.losses if each.run != this.runs.crasher]:
        kinds_of = sorted({each.kind for each in causes(loss, faults.past)})
        lost[" + ".join(kinds_of) or "nothing"] += loss.lost
    attempts: Counter[str] = Counter()
    for name in this.names:
        attempts.update(this.state(name).attempts)
    return Result(
        seconds=time.monotonic() - began,
        faults=Counter(each.kind for each in faults.past),
        healed=faults.healed,
        attempts=attempts,
        lost=lost,
        losses=len(watch.losses),
        released=released,
        resubmitted=resubmitted,
        num_statuses=watch.num_statuses,
        problems=found,
    )


def _held(sandbox: Sandbox) -> list[str]:
    """Jobs that Slurm keeps back after a failed launch."""
    rows = sandbox.run("squeue", "--noheader", "--format=%i %r").splitlines()
    return [row.split()[0] for row in rows if "launch failed requeued held" in row]


def _stranded(watch: Watch) -> dict[str, tuple[float, str]]:
    """Runs that have been waiting for nobody for a while."""
    now = time.time()
    return {name: each for name, each in watch.stranded.items() if now > each[0] + STRANDED_S}


def _ended_by_slurm(log: Path, job: str) -> bool:
    """Whether Slurm took the next start of a job for what was left of it on a lost node.

    When the node is back slurmctld has the remains killed there, and what has begun by then too.
    """
    own = [line for line in log.read_text().splitlines() if re.search(rf"JobId={job}\b", line)]
    remains = [index for index, line in enumerate(own) if "Registered PENDING" in line]
    killed = [index for index, line in enumerate(own) if "WTERMSIG 9" in line]
    return bool(remains and killed) and killed[-1] > remains[-1]


def _queue_problems(this: Round) -> list[str]:
    deadline = time.monotonic() + QUEUE_S
    while jobs := this.jobs_in_queue():
        if time.monotonic() > deadline:
            return [f"{this.experiment.name}: all runs are over, and jobs stay: {dict(jobs)}"]
        time.sleep(PAUSE_S)
    return []


def _processes_left(this: Round, outside: Outside) -> list[str]:
    """Of the jobs: each has the variable that names the fault windows."""
    deadline = time.monotonic() + QUEUE_S
    while left := _processes_with(f"{VARIABLE}={outside.windows.environment[VARIABLE]}"):
        if time.monotonic() > deadline:
            return [f"{this.experiment.name}: all jobs are over, and processes stay: {left}"]
        time.sleep(PAUSE_S)
    return []


def _processes_with(variable: str) -> dict[int, str]:
    """Their commands."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if variable.encode() in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(folder.name)] = command.decode(errors="replace")
    return found
