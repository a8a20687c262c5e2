"""Trackable resources (TRES): what Slurm counts and limits."""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import field, frozen

_MEMORY = re.compile(r"(\d+(?:\.\d+)?)([KMGTP]?)")
_GB = {"K": 2**-20, "": 2**-10, "M": 2**-10, "G": 1.0, "T": 2.0**10, "P": 2.0**20}


@frozen(kw_only=True)
class Tres:
    """Amounts of resources, as a limit gives them; None: this one is not limited."""

    gpus: int | None = None
    """Of any type."""
    cpus: int | None = None
    memory_gb: float | None = None
    nodes: int | None = None
    gpus_by_type: Mapping[str, int] = field(factory=dict)
    """Such as `a100`; counted only of jobs that ask for GPUs of that type."""


def read_tres(text: str) -> Tres:
    """Parse a list such as `cpu=64,mem=250G,node=4,gres/gpu=16,gres/gpu:a100=8`."""
    amounts = dict(part.partition("=")[::2] for part in text.split(",") if "=" in part)
    prefix = "gres/gpu:"
    return Tres(
        gpus=_number(amounts.get("gres/gpu")),
        cpus=_number(amounts.get("cpu")),
        memory_gb=_memory_gb(amounts.get("mem")),
        nodes=_number(amounts.get("node")),
        gpus_by_type={
            name.removeprefix(prefix): int(amount)
            for name, amount in amounts.items()
            if name.startswith(prefix) and amount.isdecimal()
        },
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _memory_gb(text: str | None) -> float | None:
    """Return memory in 2^30 bytes; Slurm counts in MB where it gives no unit."""
    match = _MEMORY.fullmatch(text or "")
    return float(match[1]) * _GB[match[2]] if match else None
