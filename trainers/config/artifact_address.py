"""The address of a checkpoint at W&B, as `init_from` names it."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen

PREFIX = "wandb://"
_ADDRESS = re.compile(r"wandb://([^/:\s]+)/([^/:\s]+)/([^/:\s]+):([^/:\s]+)")


@frozen
class ArtifactAddress:
    """A version of an artifact: `wandb://ENTITY/PROJECT/ARTIFACT:ALIAS`."""

    entity: str
    project: str
    artifact: str
    alias: str
    """Such as `best`, `latest`, or `v3` for a version that never changes."""

    @classmethod
    def parse(cls, text: str) -> ArtifactAddress:
        """Read an address.

        Raises:
            ValueError: It is none.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise ValueError("must be wandb://ENTITY/PROJECT/ARTIFACT:ALIAS, all four of them")
        return cls(*found.groups())

    def __str__(self) -> str:
        return f"{PREFIX}{self.entity}/{self.project}/{self.artifact}:{self.alias}"


WeightsPath = Path | ArtifactAddress
