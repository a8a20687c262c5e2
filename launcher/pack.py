"""The runs of one job, and what they share."""

from __future__ import annotations

import json

import attrs
from attrs import frozen

from launcher.experiment_folder import PackFolder
from launcher.machine import Machine
from trainers.atomic_write import atomic_write


@frozen(kw_only=True)
class Member:
    """A run in a pack, and what it asks for."""

    name: str
    gpus: int
    cpus: int


@frozen(kw_only=True)
class Pack:
    """The contents of `pack.json`."""

    members: tuple[Member, ...]
    """In the order of their starts."""
    machine: Machine
    """What the members may use, as the submitting process saw it."""
    grace_s: float
    """Time for a member to checkpoint and go, before it is killed."""


def write_pack(folder: PackFolder, pack: Pack) -> None:
    with atomic_write(folder.manifest) as file:
        file.write(json.dumps(attrs.asdict(pack), indent=1).encode())


def read_pack(folder: PackFolder) -> Pack:
    data = json.loads(folder.manifest.read_bytes())
    return Pack(
        members=tuple(Member(**member) for member in data["members"]),
        machine=Machine(**{key: tuple(units) for key, units in data["machine"].items()}),
        grace_s=data["grace_s"],
    )
