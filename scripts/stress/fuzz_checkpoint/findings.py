"""What the cases of a kind have come to, and what must always be so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from attrs import define, field

from scripts.stress.fuzz_checkpoint.counting_state import mistakes
from trainers.checkpoints import CheckpointReader, CheckpointStore
from trainers.errors import CheckpointError

IDENTITY = "0123456789abcdef"
KEEP_LAST = 2


@define
class Findings:
    """Of one case, or of several."""

    num_cases: int = 0
    seen: Counter[str] = field(factory=Counter)
    """How often something was met that may or may not happen."""
    problems: list[str] = field(factory=list)
    """What must not be, with the case to repeat."""

    def add(self, other: Findings) -> None:
        self.num_cases += other.num_cases
        self.seen += other.seen
        self.problems += other.problems


def open_store(folder: Path) -> CheckpointStore:
    """As an attempt does that begins."""
    return CheckpointStore(folder, fingerprint=IDENTITY)


def wrong_in(folder: Path) -> list[str]:
    """What is not as it must be, once a store has been opened: leftovers, or a torn checkpoint."""
    reader = CheckpointReader(folder, fingerprint=IDENTITY)
    found = []
    for each in sorted(folder.iterdir()):
        if not each.name.startswith("iteration-"):
            found.append(f"{each.name} is left over")
    for iteration in reader.iterations():
        try:
            found += mistakes(iteration, reader.load(iteration).state)
        except CheckpointError as error:
            found.append(f"torn: {error}")
    return found


def in_words(call: str) -> str:
    """A call of `FileFaults`, with names that differ from save to save made one."""
    operation, _, path = call.partition(" ")
    name = path.rpartition("/")[2]
    if name.startswith((".tmp-iteration", "iteration-")):
        name = "the checkpoint"
    elif name.startswith(".tmp-"):
        name = f"the temporary {name.split('-')[1]}"
    return f"{operation} {name or 'the run'}"
