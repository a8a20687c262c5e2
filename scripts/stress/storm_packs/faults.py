"""Everything that may befall the runs of a round, one thing at a random moment."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from attrs import frozen

from scripts.slurm_sandbox.errors import SandboxError
from scripts.slurm_sandbox.process import process_of
from scripts.slurm_sandbox.sandbox import Sandbox
from scripts.stress.storm_packs.storm_round import Round, RunningPack
from scripts.stress.storm_packs.watch import Life, Watch
from trainers.run.lease import read_lease

NOTHING_TO_DO = 3
"""The exit status of `launch submit`."""


@frozen(kw_only=True)
class Fault:
    """What was done to some runs."""

    kind: str
    time: float
    """Unix time at which it began."""
    what: str
    runs: frozenset[str] = frozenset()
    """Those that it may have ended an attempt of."""
    nodes: frozenset[str] = frozenset()
    """That are no longer what Slurm believes, or the other way round."""
    is_gentle: bool = False
    """Whether the runs had the time to save."""


Inflict = Callable[[], Fault | None]
"""Does it, and tells what; None if there is nothing now that it could be done to."""


class Faults:
    """Does things to a round, and puts right later what Slurm does not.

    Args:
        kinds: Which ones, and how often each compared with the others.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        this: Round,
        watch: Watch,
        draw: random.Random,
        kinds: dict[str, float],
    ) -> None:
        self.past: list[Fault] = []
        self.problems: list[str] = []
        self.healed: Counter[str] = Counter()
        self._sandbox = sandbox
        self._round = this
        self._watch = watch
        self._draw = draw
        self._kinds = kinds
        self._lost: dict[str, Future[None] | None] = {}
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._healer = ThreadPoolExecutor(1)

    def inflict(self) -> Fault | None:
        """One of the kinds, drawn at random; None if it was not possible."""
        names = list(self._kinds)
        (kind,) = self._draw.choices(names, list(self._kinds.values()))
        inflict: Inflict = getattr(self, f"_{kind}")
        try:
            fault = inflict()
        except (SandboxError, ProcessLookupError):  # what it was meant for has just gone
            return None
        if fault:
            self.past.append(fault)
        return fault

    def tend(self) -> None:
        """Do what is due by now, and bring back nodes as an operator would."""
        now = time.time()
        for each in [each for each in self._later if each[0] <= now]:
            self._later.remove(each)
            each[1]()
        for node, future in list(self._lost.items()):
            if future is not None and future.done():
                del self._lost[node]
        for line in self._sandbox.run("sinfo", "-hN", "-o", "%N %T").splitlines():
            node, state = line.split(maxsplit=1)
            if node not in self._lost and state.startswith(("down", "drain")):
                self.healed[state] += 1
                self._resume(node)

    def make_good(self) -> None:
        """Undo whatever is still to be undone."""
        for _, undo in self._later:
            undo()
        self._later.clear()
        self._healer.shutdown()
        self._sandbox.configure(**self._sandbox.options)
        self._sandbox.run("scancel", "--name=preempts")

    def _preempt(self) -> Fault | None:
        pack = self._a_pack()
        if pack is None:
            return None
        hold_s = round(self._draw.uniform(0.2, 4), 1)
        began = time.time()
        self._sandbox.preempt(pack.job, hold_s=hold_s)
        return self._fault(
            "preempt",
            began,
            f"{pack.job}, for {hold_s} s",
            self._on(pack.nodes),
            is_gentle=self._round.partition == "preemptible",
        )

    def _requeue(self) -> Fault | None:
        pack = self._a_pack()
        if pack is None:
            return None
        began = time.time()
        self._sandbox.run("scontrol", "requeue", pack.job)
        return self._fault("requeue", began, pack.job, pack.members)

    def _node_down(self) -> Fault | None:
        node = self._a_node()
        if node is None:
            return None
        runs, began = self._on([node]), time.time()
        self._sandbox.run("scontrol", "update", f"nodename={node}", "state=down", "reason=storm")
        self._lost[node] = None
        after = self._draw.uniform(2, 15)

        def back() -> None:
            self._resume(node)
            del self._lost[node]

        self._later.append((began + after, back))
        return self._fault("node_down", began, f"{node}, for {after:.0f} s", runs, nodes=[node])

    def _lose_node(self) -> Fault | None:
        node = self._a_node()
        if node is None:
            return None
        runs, began = self._on([node]), time.time()
        self._sandbox.kill_slurmd(node)
        self._lost[node] = None
        after = self._draw.uniform(2, 45)

        def back() -> None:
            self._lost[node] = self._healer.submit(self._sandbox.start_slurmd, node)

        self._later.append((began + after, back))
        return self._fault("lose_node", began, f"{node}, for {after:.0f} s", runs, nodes=[node])

    def _kill_rank(self) -> Fault | None:
        life = self._a_life(may_crash=True)
        return self._kill("kill_rank", [self._a_pid(life)], life.run) if life else None

    def _kill_supervisor(self) -> Fault | None:
        pack = self._a_pack()
        if pack is None:
            return None
        return self._kill("kill_supervisor", [self._supervisor(pack)], *pack.members)

    def _kill_step(self) -> Fault | None:
        pack = self._a_pack()
        if pack is None:
            return None
        lives = [life for life in self._watch.lives if life.job == pack.job]
        pids = [pid for life in lives for pid in list(life.descriptors)]
        return self._kill("kill_step", [self._supervisor(pack), *pids], *pack.members)

    def _freeze(self) -> Fault | None:
        life = self._a_life()
        if life is None:
            return None
        process = process_of(self._a_pid(life))
        if process is None:
            return None
        began, seconds = time.time(), self._draw.uniform(1, 8)
        process.send(signal.SIGSTOP)
        self._later.append((began + seconds, lambda: process.send(signal.SIGCONT)))
        what = f"{process.pid} of {life.run}, for {seconds:.0f} s"
        return self._fault("freeze", began, what, [life.run])

    def _submit_again(self) -> Fault | None:
        crasher = self._round.state(self._round.runs.crasher)
        if crasher.num_counted("crashed") >= self._round.runs.crashes:
            return None  # it is about to fail, and would be tried again
        before, began = self._round.packs(), time.time()
        done = self._round.submit()
        if done.returncode != NOTHING_TO_DO or self._round.packs() != before:
            said = f"{done.stdout[-1500:]}{done.stderr[-1500:]}"
            self.problems.append(f"submitting again did something: {done.returncode} {said}")
        return self._fault("submit_again", began, self._round.experiment.name, [])

    def _user_signal_on_or_off(self) -> Fault | None:
        if self._lost:  # it would bring lost nodes back
            return None
        began, options = time.time(), self._sandbox.options
        wanted = not options.get("user_signal", True)
        self._sandbox.configure(**{**options, "user_signal": wanted})
        return self._fault("user_signal_on_or_off", began, str(wanted), [])

    def _kill(self, kind: str, pids: list[int], *runs: str) -> Fault:
        began = time.time()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return self._fault(kind, began, " ".join(map(str, pids)), runs)

    def _fault(
        self,
        kind: str,
        began: float,
        what: str,
        runs: Iterable[str],
        *,
        nodes: Iterable[str] = (),
        is_gentle: bool = False,
    ) -> Fault:
        return Fault(
            kind=kind,
            time=began,
            what=what,
            runs=frozenset(runs),
            nodes=frozenset(nodes),
            is_gentle=is_gentle,
        )

    def _resume(self, node: str) -> None:
        with suppress(SandboxError):  # it is back already
            self._sandbox.run("scontrol", "update", f"nodename={node}", "state=resume")

    def _a_pack(self) -> RunningPack | None:
        packs = self._round.running_packs()
        return self._draw.choice(packs) if packs else None

    def _a_node(self) -> str | None:
        """One with a job; no more than one is lost at a time."""
        nodes = sorted({node for pack in self._round.running_packs() for node in pack.nodes})
        return self._draw.choice(nodes) if nodes and not self._lost else None

    def _on(self, nodes: Iterable[str]) -> list[str]:
        packs = [pack for pack in self._round.running_packs() if set(pack.nodes) & set(nodes)]
        return [name for pack in packs for name in pack.members]

    def _a_life(self, *, may_crash: bool = False) -> Life | None:
        budget = self._round.runs.crashes - 2
        lives = [
            life
            for life in self._watch.lives
            if life.descriptors
            and (not may_crash or self._round.state(life.run).num_counted("crashed") < budget)
        ]
        return self._draw.choice(lives) if lives else None

    def _a_pid(self, life: Life) -> int:
        pids = list(life.descriptors)
        if not pids:
            raise ProcessLookupError
        return self._draw.choice(pids)

    def _supervisor(self, pack: RunningPack) -> int:
        record = read_lease(pack.folder.node_lease(self._draw.randrange(len(pack.nodes))))
        if record is None or not record.is_process_alive:
            raise ProcessLookupError
        return record.pid
