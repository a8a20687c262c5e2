"""Parse generic resources (GRES), as Slurm lists them for a node: which GPUs it has."""

from __future__ import annotations

import re

_DETAILS = re.compile(r"\([^)]*\)")
_GPU = re.compile(r"gpu(?::(?P<type>[^:]+?))??(?::no_consume)?(?::(?P<count>\d+))?")
_SLICE = re.compile(
    r"(?:^|[^a-z0-9])(?:mig|slice|[1-7]g(?:\.?\d+gb)?)(?:$|[^a-z0-9])", re.IGNORECASE
)
"""In the type of a part of a GPU: 1g.10gb, a100_3g.20gb, a100_1g, nvidia_a100_mig, 1g.5gb+me."""


def gpus_by_type(gres: str) -> dict[str | None, int]:
    """Return the number of GPUs of each type among a node's generic resources.

    Such as `gpu:4`, `gpu:a100:4(S:0-1),mps:400`, `gpu:1g.10gb:7`, `(null)`. GPUs without a type
    are under None. MIG instances are types of their own. Shards and MPS are no further GPUs, but
    shares of those that are listed beside them.
    """
    found: dict[str | None, int] = {}
    for match in map(_GPU.fullmatch, _DETAILS.sub("", gres).split(",")):
        if match:
            name = match["type"]
            found[name] = found.get(name, 0) + int(match["count"] or 1)
    return {name: count for name, count in found.items() if count}


def has_gpus(gres: str) -> bool:
    """Return whether a list of generic resources, as for `sbatch --gres`, names GPUs."""
    names = (re.split(r"[:=]", each.strip().removeprefix("gres/"))[0] for each in gres.split(","))
    return any(name in ("gpu", "shard", "mps") for name in names)


def is_slice(gpu_type: str | None) -> bool:
    """Return whether a type of GPUs is one of MIG instances: slices of a GPU, not whole ones."""
    return gpu_type is not None and _SLICE.search(gpu_type) is not None
