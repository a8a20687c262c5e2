"""Rank, world size and local rank of this process, from torchrun's environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping

from attrs import field, frozen
from attrs.validators import ge

from trainers.errors import ConfigError

_VARIABLES = {
    "rank": "RANK",
    "world_size": "WORLD_SIZE",
    "local_rank": "LOCAL_RANK",
    "local_size": "LOCAL_WORLD_SIZE",
}


@frozen(kw_only=True)
class RankInfo:
    """Rank and world size of this process; by default the only rank of its run."""

    rank: int = field(default=0, validator=ge(0))
    world_size: int = field(default=1, validator=ge(1))
    """Number of ranks of the run."""
    local_rank: int = field(default=0, validator=ge(0))
    local_size: int = field(default=1, validator=ge(1))
    """Number of ranks of the run on this node: LOCAL_WORLD_SIZE."""

    def __attrs_post_init__(self) -> None:
        if self.rank >= self.world_size or self.local_rank >= self.local_size:
            raise ValueError("a rank must be smaller than the number of ranks")
        if self.local_size > self.world_size:
            raise ValueError("the local world size must not exceed the world size")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> RankInfo:
        """Read torchrun's variables; a single rank if none of them is set.

        Raises:
            ConfigError: Some are missing, no whole numbers, or contradict each other.
        """
        found = {name: environ[name] for name in _VARIABLES.values() if name in environ}
        if not found:
            return cls()
        try:
            return cls(**{key: int(found[name]) for key, name in _VARIABLES.items()})
        except (KeyError, ValueError) as error:
            shown = ", ".join(f"{name}={value}" for name, value in found.items())
            what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
            raise ConfigError(
                f"cannot tell rank and world size from the environment: {what}. Found {shown}; set "
                f"all of {', '.join(_VARIABLES.values())} to whole numbers as torchrun does, or "
                "none of them for a run of one rank"
            ) from error

    @property
    def is_on_one_node(self) -> bool:
        """Whether all ranks of the run are on this node."""
        return self.world_size == self.local_size


def uneven_batch(batch_size: int, num_ranks: int) -> str:
    """Return the message that this number of ranks cannot share a batch, with sizes that work."""
    below = batch_size // num_ranks * num_ranks
    nearest = f"{below} or {below + num_ranks}" if below else f"{num_ranks}"
    return (
        f"trainer.batch_size is {batch_size}, which the {num_ranks} ranks of the run (nodes x gpus "
        f"in resources) cannot share evenly; nearest batch sizes that they can: {nearest}"
    )
