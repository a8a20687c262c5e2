"""Rounds in which all have their turn, so that what disturbs one disturbs the others too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

import torch

from scripts.benchmarks.bench_checkpoint.contestant import Contestant, LoadingContestant
from scripts.benchmarks.bench_checkpoint.floors import Copying, forget, read, touched_memory, write
from scripts.benchmarks.bench_checkpoint.network import Network, tensors_of
from scripts.benchmarks.bench_checkpoint.ours import Ours
from scripts.benchmarks.bench_checkpoint.step import TrainingStep
from scripts.benchmarks.bench_checkpoint.times import Times

MEMCPY, RAW_WRITE = "memcpy", "write + fsync"
RAW_READ, RAW_READ_TOUCHED = "plain read", "plain read, old memory"
INTO_NETWORK = "load_state_dict"
_UNDISTURBED_S = 0.4
"""How long steps are timed before and after a save."""

Turn = Callable[[int], None]


class SavingRounds:
    """Save into folders of their own: alone, and then beside a training.

    Args:
        contestants: Memory is copied before and after the first one, as what came before a turn
            may have taken away some of the machine's speed for that long.
        background: Those that save while the training continues.
    """

    def __init__(
        self,
        network: Network,
        contestants: Sequence[Contestant],
        background: Sequence[Contestant],
        times: Times,
    ) -> None:
        self._network = network
        self._contestants = contestants
        self._background = background
        self._times = times
        self._step = TrainingStep()

    def run(self, number: int, raw: Path) -> None:
        """
        Args:
            raw: A file to be written and deleted.
        """
        copying = Copying([*tensors_of(self._network.state()).values()])

        def copy(_: int) -> None:
            self._times.add(MEMCPY, "stall", copying.seconds())

        def write_raw(_: int) -> None:
            self._times.add(RAW_WRITE, "durable", write(raw, copying.content))
            raw.unlink()

        first, *others = (partial(self._save, each) for each in self._contestants)
        disturbed = [partial(self._train_meanwhile, each) for each in self._background]
        for index in _rounds("saving", number):
            _take([write_raw, copy, first, copy, *others, *disturbed], index)

    def _save(self, contestant: Contestant, index: int) -> None:
        contestant.prepare(2 * index, self._network.state())
        self._network.touch()
        began = perf_counter()
        durable = contestant.start(2 * index, self._network.state)
        self._times.add(contestant.name, "stall", perf_counter() - began)
        self._times.add(contestant.name, "durable", durable.result() - began)
        contestant.tidy()

    def _train_meanwhile(self, contestant: Contestant, index: int) -> None:
        before = self._step.repeat_for(_UNDISTURBED_S)
        durable = contestant.start(2 * index + 1, self._network.state)
        meanwhile = self._step.repeat(durable.done)
        durable.result()
        contestant.tidy()
        after = self._step.repeat_for(_UNDISTURBED_S)
        usual_s = (before.seconds + after.seconds) / (before.number + after.number)
        self._times.add(contestant.name, "step", meanwhile.each_s / usual_s)
        self._times.add(contestant.name, "extra", meanwhile.seconds - meanwhile.number * usual_s)


class LoadingRounds:
    """Load what was saved last, from the disk and then from the page cache.

    Args:
        ours: One of the contestants; its file is also the one that is read plainly.
    """

    def __init__(
        self, network: Network, contestants: Sequence[LoadingContestant], ours: Ours, times: Times
    ) -> None:
        self._network = network
        self._contestants = contestants
        self._ours = ours
        self._times = times

    def run(self, number: int) -> None:
        (file,) = self._ours.newest.glob("*.safetensors")
        memory = touched_memory(file.stat().st_size)

        def restore(_: int) -> None:
            state = self._ours.load_state()
            began = perf_counter()
            self._network.load(state)
            self._times.add(INTO_NETWORK, "warm", perf_counter() - began)

        turns: list[Callable[[int], None]] = [
            partial(self._read, RAW_READ, file, lambda: read(file)),
            partial(self._read, RAW_READ_TOUCHED, file, lambda: read(file, memory)),
            *(partial(self._load, each) for each in self._contestants),
            restore,
        ]
        for each in self._contestants:
            each.prepare_load(self._network.state())
        for index in _rounds("loading", number):
            _take(turns, index)

    def _load(self, contestant: LoadingContestant, _: int) -> None:
        forget(contestant.newest)
        for cache in ("cold", "warm"):
            began = perf_counter()
            found = contestant.load()
            self._times.add(contestant.name, cache, perf_counter() - began)
            self._check(contestant.name, found)
            del found  # the next one is to find the memory free

    def _check(self, name: str, found: dict[str, torch.Tensor]) -> None:
        want = tensors_of(self._network.state())
        if found.keys() != want.keys() or any(
            not torch.equal(found[each], want[each]) for each in want
        ):
            raise AssertionError(f"{name} has loaded something else than it saved")

    def _read(self, name: str, file: Path, seconds: Callable[[], float], _: int) -> None:
        forget(file)
        self._times.add(name, "cold", seconds())
        self._times.add(name, "warm", seconds())


def _take(turns: Sequence[Turn], index: int) -> None:
    """All turns, each time beginning with another one."""
    first = index % len(turns)
    for turn in [*turns[first:], *turns[:first]]:
        turn(index)
        os.sync()


def _rounds(what: str, number: int) -> Iterator[int]:
    """One more than asked for: the first one is kept apart."""
    for index in range(number + 1):
        print(f"{what}, round {index} of {number}; load {os.getloadavg()[0]:.1f}", flush=True)
        yield index
