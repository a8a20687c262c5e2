"""Start the ranks of a run as a supervisor does: a process each, told by torchrun's variables."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import IO

from trainers.run.run_folder import RunFolder
from trainers.run.run_state import read_state

RANK_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def variables(rank: int, size: int, local_size: int) -> dict[str, str]:
    """The environment of a rank; with several nodes, all of which are this one."""
    numbers = (rank, size, rank % local_size, local_size)
    names = dict(zip(RANK_VARIABLES, map(str, numbers), strict=True))
    return names if size == local_size else {**names, "GLOO_SOCKET_IFNAME": "lo"}


def start_rank(
    arguments: Sequence[str],
    rank: int,
    size: int,
    local_size: int,
    log: IO[bytes],
    environment: Mapping[str, str] = {},
) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=log,
        stderr=log,
        env={**inherited, **environment, **variables(rank, size, local_size)},
    )


class Attempt:
    """The ranks of one attempt at a run."""

    def __init__(
        self,
        folder: RunFolder,
        size: int = 1,
        local_size: int | None = None,
        number: int = 0,
        environment: Mapping[str, str] = {},
    ):
        self._folder = folder
        self._number = number
        arguments = ["-m", "trainers", str(folder.path), f"--attempt={number}", "--owner=test"]
        self.ranks = []
        for rank in range(size):
            with folder.log(number, rank).open("wb") as log:
                self.ranks.append(
                    start_rank(arguments, rank, size, local_size or size, log, environment)
                )

    def wait_for_iteration(self, iteration: int) -> None:
        while read_state(self._folder).iteration < iteration:
            assert all(rank.poll() is None for rank in self.ranks), self.logs()
            time.sleep(0.05)

    def end(self) -> list[int]:
        """Exit statuses; a rank that hangs fails the test."""
        try:
            return [rank.wait(timeout=180) for rank in self.ranks]
        finally:
            self.kill()

    def kill(self) -> None:
        for rank in self.ranks:
            rank.kill()
            rank.wait()

    def logs(self) -> str:
        return "\n".join(
            self._folder.log(self._number, rank).read_text() for rank in range(len(self.ranks))
        )
