"""Start the ranks of a run as a supervisor does: a process each, told by torchrun's variables."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

RANK_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def variables(rank: int, size: int, local_size: int) -> dict[str, str]:
    """The environment of a rank; with several nodes, all of which are this one."""
    numbers = (rank, size, rank % local_size, local_size)
    names = dict(zip(RANK_VARIABLES, map(str, numbers), strict=True))
    return names if size == local_size else {**names, "GLOO_SOCKET_IFNAME": "lo"}


def start_rank(
    arguments: Sequence[str], rank: int, size: int, local_size: int, log: IO[bytes]
) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=log,
        stderr=log,
        env={**inherited, **variables(rank, size, local_size)},
    )
