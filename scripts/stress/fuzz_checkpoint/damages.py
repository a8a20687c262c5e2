"""Damage to the files of a checkpoint: whatever it is, it is found, and the one before is used."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from scripts.stress.fuzz_checkpoint.counting_state import CountingState, mistakes
from scripts.stress.fuzz_checkpoint.findings import IDENTITY, Findings, open_store
from trainers.checkpoints import CheckpointReader

SIZES = {"small": 3_000, "chunks": 34_000_000}
"""Bytes of a state; of the larger one there are three chunks."""
FILES = ("manifest.json", "rank-00000.safetensors")
BLOCK_BYTES = 4096

Damage = Callable[[bytearray, random.Random], str]
"""Changes the content of a file; gives what it has done, in words."""


def _flip(content: bytearray, draw: random.Random) -> str:
    position, change = _position(content, draw), draw.randrange(1, 256)
    content[position] ^= change
    return f"byte {position} ^ {change}"


def _flip_bit(content: bytearray, draw: random.Random) -> str:
    position, bit = _position(content, draw), draw.randrange(8)
    content[position] ^= 1 << bit
    return f"bit {bit} of byte {position}"


def _truncate(content: bytearray, draw: random.Random) -> str:
    length = _position(content, draw)
    del content[length:]
    return f"cut off after {length} bytes"


def _extend(content: bytearray, draw: random.Random) -> str:
    more = draw.choice((1, 2, BLOCK_BYTES))
    content += bytes(more) if draw.random() < 0.5 else b" " * more
    return f"{more} bytes more"


def _lose_block(content: bytearray, draw: random.Random) -> str:
    """As a disk does that has not written it."""
    start = _position(content, draw) // BLOCK_BYTES * BLOCK_BYTES
    before = content[start : start + BLOCK_BYTES]
    content[start : start + BLOCK_BYTES] = bytes(len(before))
    if content[start : start + BLOCK_BYTES] == before:
        return _flip(content, draw)
    return f"zeros from {start} on"


def _position(content: bytearray, draw: random.Random) -> int:
    """The first and the last ones, and those about the end of a block, are as likely as others."""
    last = len(content) - 1
    kind = draw.random()
    if kind < 0.1:
        return draw.choice((0, last))
    if kind < 0.2:
        edge = draw.randrange(0, last + 1) // BLOCK_BYTES * BLOCK_BYTES
        return min(last, max(0, edge + draw.choice((-1, 0))))
    return draw.randint(0, last)


DAMAGES: dict[str, Damage] = {
    "flip": _flip,
    "flip-bit": _flip_bit,
    "truncation": _truncate,
    "extension": _extend,
    "lost-block": _lose_block,
}


def damage(size: str, file: str, kind: str, count: int, folder: Path, *, seed: str) -> Findings:
    """Damage a file that often, each time anew, and restore.

    Args:
        size: One of SIZES.
        file: One of FILES.
        kind: One of DAMAGES.
        folder: For the checkpoints; it must not exist.
    """
    store, state = open_store(folder), CountingState(SIZES[size])
    for iteration in (1, 2):
        state.advance(iteration)
        path = store.save(iteration, state.state_dict()) / file
    whole = path.read_bytes()
    reader = CheckpointReader(folder, fingerprint=IDENTITY)
    case = f"damage/{size}/{file}/{kind}"
    draw = random.Random(f"{seed}/{case}")
    found = Findings()
    for number in range(count):
        content = bytearray(whole)
        what = DAMAGES[kind](content, draw)
        path.write_bytes(content)
        found.num_cases += 1
        newest = reader.newest()
        if newest is None or newest.iteration != 1:
            restored = newest.iteration if newest else None
            found.problems.append(f"{case}, number {number}: {what}: {restored} is restored")
        elif wrong := mistakes(1, newest.state):
            found.problems.append(f"{case}, number {number}: {what}: {wrong}")
    path.write_bytes(whole)
    newest = reader.newest()
    if newest is None or newest.iteration != 2:
        found.problems.append(f"{case}: without damage, 2 is not restored")
    return found
