"""All cases, in parts that can be worked on one beside the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attrs import frozen

from scripts.stress.fuzz_checkpoint.damages import DAMAGES, FILES, damage
from scripts.stress.fuzz_checkpoint.findings import Findings
from scripts.stress.fuzz_checkpoint.random_kills import KILLS_PER_CHAIN, kill_chain
from scripts.stress.fuzz_checkpoint.restoring_steps import RESTORING
from scripts.stress.fuzz_checkpoint.running_steps import RUNNING
from scripts.stress.fuzz_checkpoint.saving_steps import SAVING, SAVING_CHUNKS
from scripts.stress.fuzz_checkpoint.steps import one_fault_at_each_step, some_fault_at_each_step

PROTOCOLS = {each.name: each for each in (SAVING, SAVING_CHUNKS, RESTORING, RUNNING)}
LARGE_SHARE = 0.05
"""Of the damages, those to files with several chunks."""


@frozen(kw_only=True)
class Part:
    """Some of the cases."""

    name: str
    """The beginning of the names of its cases; up to the first slash that of their kind."""
    run: Callable[[Path], Findings]
    """Works in a folder of its own."""

    @property
    def kind(self) -> str:
        return self.name.partition("/")[0]


def all_parts(*, num_kills: int, faults: str, num_damages: int, seed: str) -> list[Part]:
    """
    Args:
        faults: `all`, `sample` for one at each step, or `none`.
        num_damages: At most.
    """
    return [*_faults(faults, seed), *_kills(num_kills, seed), *_damages(num_damages, seed)]


def part_named(name: str, *, seed: str) -> Part:
    """The part that a case belongs to, or only that case where this is possible.

    Raises:
        KeyError: There is none of this name.
    """
    kind, _, rest = name.partition("/")
    if kind in PROTOCOLS:
        fault, _, step = rest.partition("/")
        return _faults_of_one_kind(kind, fault, int(step) if step else None)
    parts = all_parts(num_kills=10_000, faults="none", num_damages=10_000, seed=seed)
    return {each.name: each for each in parts}[name]


def _kills(count: int, seed: str) -> list[Part]:
    parts = []
    for number, first in enumerate(range(0, count, KILLS_PER_CHAIN)):
        name = f"kills/{number}"
        num_kills = min(KILLS_PER_CHAIN, count - first)
        parts.append(Part(name=name, run=partial(kill_chain, name, num_kills, seed=seed)))
    return parts


def _faults(which: str, seed: str) -> list[Part]:
    if which == "sample":
        return [
            Part(name=f"{name}/sample", run=partial(_sampled_faults, name, seed))
            for name in PROTOCOLS
        ]
    if which == "none":
        return []
    return [
        _faults_of_one_kind(name, fault, None)
        for name, protocol in PROTOCOLS.items()
        for fault in protocol.faults
    ]


def _faults_of_one_kind(protocol: str, fault: str, step: int | None) -> Part:
    PROTOCOLS[protocol].faults[fault]
    return Part(name=f"{protocol}/{fault}", run=partial(_each_step, protocol, fault, step))


def _each_step(protocol: str, fault: str, step: int | None, folder: Path) -> Findings:
    return one_fault_at_each_step(PROTOCOLS[protocol], fault, folder, only_step=step)


def _sampled_faults(protocol: str, seed: str, folder: Path) -> Findings:
    return some_fault_at_each_step(PROTOCOLS[protocol], folder, seed=seed)


def _damages(count: int, seed: str) -> list[Part]:
    small = [("small", *each) for each in itertools.product(FILES, DAMAGES)]
    large = [("chunks", FILES[-1], each) for each in DAMAGES]
    parts = []
    for triples, num in ((small, count * (1 - LARGE_SHARE)), (large, count * LARGE_SHARE)):
        each = round(num / len(triples))
        parts += [
            Part(name="/".join(("damage", *triple)), run=partial(damage, *triple, each, seed=seed))
            for triple in triples
            if each
        ]
    return parts
