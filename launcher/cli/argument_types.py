"""What several commands take: targets, the experiment file, and types of arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

# Written out, not imported: every command, and every completion of a shell, would wait for attrs
# classes, logging and uuid (10 of 140 ms). A test holds them against their sources.
ROOT = Path("experiments")
RESUBMITTABLE = ("failed", "waiting", "cancelled")
STATES = (
    "planned",
    "submitted",
    "running",
    "waiting",
    "finished",
    "failed",
    "cancelled",
    "unreadable",
)
COLUMNS = (
    "run",
    "state",
    "iteration",
    "loss",
    "best",
    "it/s",
    "eta",
    "seen",
    "node",
    "attempts",
    "job",
    "reason",
)


def add_targets(command: argparse.ArgumentParser, *, is_required: bool = False) -> None:
    command.add_argument(
        "targets",
        nargs="+" if is_required else "*",
        metavar="TARGET",
        help=f"EXPERIMENT, RUN or EXPERIMENT/RUN in {ROOT}, also as a pattern such as 'lr-*', or a "
        f"folder of these{'' if is_required else f' [all in {ROOT}]'}",
    )


def add_file(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE", help="the experiment, YAML")
    command.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="replace a value of the file, such as trainer.batch_size=4",
    )


def some_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse_states(text: str) -> list[str]:
        states = text.split(",")
        if unknown := [state for state in states if state not in known]:
            raise argparse.ArgumentTypeError(
                f"found {unknown[0]!r}; must be among {', '.join(known)}"
            )
        return states

    return parse_states


def count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"found {text!r}; must be a whole number from 0 on")
    return int(text)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; must be a whole number above 0")
    return int(text)
