"""Start a process that saves checkpoints until it is killed, one for each line on stdin.

Each process is forked, so that torch is imported only once. It prints its number, and then every
iteration that `save` has acknowledged; the parent prints `dead` once the process has gone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from trainers.checkpoints import CheckpointStore


def save_forever(folder: Path, identity: str) -> None:
    store = CheckpointStore(folder, identity=identity)
    newest = store.newest()
    iteration = newest.iteration if newest else 0
    while True:
        iteration += 1
        store.save(iteration, {"weight": torch.full((200_000,), float(iteration))})
        os.write(1, b"%d\n" % iteration)


if __name__ == "__main__":
    for _ in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            os.write(1, b"%d\n" % os.getpid())
            save_forever(Path(sys.argv[1]), sys.argv[2])
        os.waitpid(pid, 0)
        os.write(1, b"dead\n")
