"""A fault at the first step of a protocol, then at the second, and so on to its end."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from scripts.stress.fuzz_checkpoint.file_faults import Fault, FileFaults
from scripts.stress.fuzz_checkpoint.findings import Findings
from scripts.stress.fuzz_checkpoint.forked import Forked, Hung, Say

MAX_STEPS = 500
"""No protocol has more."""


@frozen(kw_only=True)
class Trial:
    """What a process is to do while a fault strikes it."""

    run: Path
    """The folder of a run that has just been planned; faults are in calls for paths below it."""
    fault: Fault
    step: int
    faults: FileFaults
    acknowledged: int
    """The newest iteration that was said to be committed, by the process before."""
    say: Say
    """For lines `wrong …` about what must not be, `seen …` about what may be, `committed …`."""

    @property
    def checkpoints(self) -> Path:
        return self.run / "checkpoints"

    def arm(self) -> None:
        self.faults.arm(self.fault, self.run, at=self.step, target=self.checkpoints)


@frozen(kw_only=True)
class Protocol:
    """Something that takes steps, each of which may fail.

    Attributes:
        prepare: What the trials need in the folder that theirs lie in.
        undergo: Arms the fault, takes the steps, and looks at what has come of it.
        go_on: What the next process finds, and does; called also if the first was killed.
        faults: All that may strike it, by their names.
        sample_every: A sample has one fault at each so many steps.
    """

    name: str
    prepare: Callable[[Path], None] = lambda folder: None
    undergo: Callable[[Trial], None]
    go_on: Callable[[Trial], None]
    faults: Mapping[str, Fault]
    sample_every: int = 1


def one_fault_at_each_step(
    protocol: Protocol, fault_name: str, folder: Path, *, only_step: int | None = None
) -> Findings:
    """
    Args:
        folder: For the runs and their logs; it must not exist.
    """
    found = _prepare(protocol, folder)
    for step in range(only_step or 1, MAX_STEPS):
        findings, is_over = _strike(protocol, fault_name, step, folder / f"{step}")
        found.add(findings)
        if is_over or only_step:
            return found
    found.problems.append(f"{protocol.name}/{fault_name}: has no end")
    return found


def some_fault_at_each_step(protocol: Protocol, folder: Path, *, seed: str) -> Findings:
    """At each step, or at some of them, one that is drawn."""
    draw = random.Random(f"{seed}/{protocol.name}")
    found = _prepare(protocol, folder)
    over: set[str] = set()
    for step in range(1, MAX_STEPS, protocol.sample_every):
        left = [name for name in protocol.faults if name not in over]
        if not left:
            return found
        name = draw.choice(left)
        findings, is_over = _strike(protocol, name, step, folder / f"{step}")
        found.add(findings)
        if is_over:
            over.add(name)
    return found


def _prepare(protocol: Protocol, folder: Path) -> Findings:
    """In a process of its own, as all the rest."""
    folder.mkdir()
    child = Forked(lambda say: protocol.prepare(folder), folder / "log")
    child.lines()
    if child.exit_code == 0:
        return Findings()
    return Findings(problems=[f"{protocol.name}: preparing failed; log: {folder / 'log'}"])


def _strike(protocol: Protocol, name: str, step: int, folder: Path) -> tuple[Findings, bool]:
    """Whether it is over: the fault did not strike any more."""
    run, log = folder / "run", folder / "log"
    run.mkdir(parents=True)
    faults = FileFaults()
    fault = protocol.faults[name]
    case = f"{protocol.name}/{name}/{step}"
    found = Findings()
    acknowledged = 0

    def do(work: Callable[[Trial], None], *, may_be_killed: bool) -> None:
        nonlocal acknowledged

        def in_child(say: Say) -> None:
            trial = Trial(
                run=run,
                fault=fault,
                step=step,
                faults=faults,
                acknowledged=acknowledged,
                say=say,
            )
            work(trial)

        lines: list[str] = []
        try:
            child = Forked(in_child, log)
            lines = child.lines()
            if child.exit_code != 0 and not (may_be_killed and child.exit_code == -9):
                lines.append(f"wrong the process ended with {child.exit_code}")
        except Hung as error:
            lines.append(f"wrong {error}")
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "seen":
                found.seen[rest] += 1
            elif word == "committed":
                acknowledged = max(acknowledged, int(rest))
            else:
                found.problems.append(
                    f"{case} ({faults.call(step)}): {line.removeprefix('wrong ')}; log: {log}"
                )

    do(protocol.undergo, may_be_killed=fault.action in ("kill", "kill_after"))
    faults.disarm()
    if faults.num_struck:
        do(protocol.go_on, may_be_killed=False)
        found.num_cases += 1
    if not found.problems:
        shutil.rmtree(folder)
    return found, not faults.num_struck
