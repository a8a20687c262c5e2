"""Something befalls the runs of a round at random moments; each kind is a function of its own.

They are in slurm_faults.py, process_faults.py and file_faults.py.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from attrs import field, frozen

from scripts.slurm_sandbox.errors import SandboxError
from scripts.slurm_sandbox.sandbox import Sandbox
from scripts.stress.storm_packs.outside import Outside
from scripts.stress.storm_packs.storm_round import Round, RunningPack
from scripts.stress.storm_packs.watch import Life, Watch
from trainers.run.lease import read_lease

T = TypeVar("T")


def _names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


@frozen(kw_only=True)
class Fault:
    """What was done to some runs."""

    kind: str
    time: float
    """Unix time at which it began."""
    seconds: float = 0.0
    """How long it lasts."""
    what: str
    runs: frozenset[str] = field(default=(), converter=_names)
    """Those that it may have ended an attempt of."""
    nodes: frozenset[str] = field(default=(), converter=_names)
    """That are no longer what Slurm believes, or the other way round."""
    is_gentle: bool = False
    """Whether the runs had the time to save."""


class Faults:
    """Does things to a round, and puts right later what Slurm does not.

    Args:
        outside: What the runs depend on beside Slurm; None if no kind of fault befalls that.
        inflictions: Every kind of fault.
        kinds: Which ones, and how often each compared with the others.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        this: Round,
        watch: Watch,
        outside: Outside | None,
        draw: random.Random,
        inflictions: Mapping[str, Inflict],
        kinds: Mapping[str, float],
    ) -> None:
        self.past: list[Fault] = []
        self.problems: list[str] = []
        self.healed: Counter[str] = Counter()
        self.lost: dict[str, Future[None] | None] = {}
        """Nodes that are to be back later, or that are about to be."""
        self.sandbox = sandbox
        self.round = this
        self.watch = watch
        self.draw = draw
        self._outside = outside
        self._inflictions = inflictions
        self._kinds = kinds
        self._later: list[tuple[float, Callable[[], object]]] = []
        self._healer = ThreadPoolExecutor(1)

    @property
    def outside(self) -> Outside:
        if self._outside is None:
            raise ValueError("the runs depend on nothing that could fail")
        return self._outside

    @property
    def is_disk_full(self) -> bool:
        return self._outside is not None and self._outside.disk.is_full

    def inflict(self) -> Fault | None:
        """One of the kinds, drawn at random; None if it was not possible."""
        (kind,) = self.draw.choices(list(self._kinds), list(self._kinds.values()))
        try:
            fault = self._inflictions[kind](self)
        except (SandboxError, ProcessLookupError):  # what it was meant for has just gone
            return None
        if fault:
            self.past.append(fault)
        return fault

    def later(self, moment: float, what: Callable[[], object]) -> None:
        """Have something done at a Unix time."""
        self._later.append((moment, what))

    @property
    def is_calm(self) -> bool:
        """Whether nothing is still to be undone."""
        return not self._later and not self.lost

    def tend(self) -> None:
        """Do what is due by now, and bring back nodes as an operator would."""
        now = time.time()
        for each in [each for each in self._later if each[0] <= now]:
            self._later.remove(each)
            each[1]()
        if self._outside:
            self._outside.disk.keep_full()
        for node, future in list(self.lost.items()):
            if future is not None and future.done():
                del self.lost[node]
        for line in self.sandbox.run("sinfo", "-hN", "-o", "%N %T").splitlines():
            node, state = line.split(maxsplit=1)
            if node not in self.lost and state.startswith(("down", "drain")):
                self.healed[state] += 1
                self.resume(node)

    def make_good(self) -> None:
        """Undo whatever is still to be undone."""
        for _, undo in self._later:
            undo()
        self._later.clear()
        self._healer.shutdown()
        self.sandbox.configure(**self.sandbox.options)
        self.sandbox.run("scancel", "--name=preempts")

    def heal(self, node: str) -> None:
        """Start the slurmd of a lost node, which takes a while."""
        self.lost[node] = self._healer.submit(self.sandbox.start_slurmd, node)

    def resume(self, node: str) -> None:
        with suppress(SandboxError):  # it is back already
            self.sandbox.run("scontrol", "update", f"nodename={node}", "state=resume")

    def a_pack(self) -> RunningPack:
        return self._one_of(self.round.running_packs())

    def a_node(self) -> str:
        """One with a job; no more than one is lost at a time."""
        nodes = {node for pack in self.round.running_packs() for node in pack.nodes}
        return self._one_of([] if self.lost else sorted(nodes))

    def on(self, nodes: Iterable[str]) -> list[str]:
        """The runs in the packs that these nodes have."""
        packs = [pack for pack in self.round.running_packs() if set(pack.nodes) & set(nodes)]
        return [name for pack in packs for name in pack.members]

    def a_life(self, *, may_crash: bool = False, of: Iterable[str] | None = None) -> Life:
        """An attempt that goes on; of one of these runs, by default of any."""
        budget = self.round.runs.crashes - 2
        return self._one_of(
            [
                life
                for life in self.watch.lives
                if life.descriptors
                and (of is None or life.run in of)
                and (not may_crash or self.round.state(life.run).num_counted("crashed") < budget)
            ]
        )

    def a_pid(self, life: Life) -> int:
        return self._one_of(list(life.descriptors))

    def supervisor(self, pack: RunningPack, node: int) -> int:
        record = read_lease(pack.folder.node_lease(node))
        if record is None or not record.is_process_alive:
            raise ProcessLookupError
        return record.pid

    def _one_of(self, victims: Sequence[T]) -> T:
        if not victims:
            raise ProcessLookupError
        return self.draw.choice(victims)


Inflict = Callable[[Faults], Fault | None]
"""Does it, and tells what; None, or an error, if there is nothing now that it can be done to."""
