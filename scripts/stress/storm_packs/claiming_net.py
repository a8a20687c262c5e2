"""A network that mostly sleeps, and claims the GPU that it was given and its place in its run.

A claim is the lock of a file, which the kernel keeps until the process has ended; one that is
refused is a line of `refused.jsonl`. On a node that is said to be broken it finds no GPU.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
import zlib
from pathlib import Path

import torch

from trainers.errors import NodeFaultError

RUN = Path(sys.argv[1]).name
RANK = os.environ.get("RANK", "0")


class ClaimingNet(torch.nn.Module):
    """Another one for every run: its weights and its speed depend on the run's name.

    Args:
        seconds: A step takes half as long to half as long again.
        claims: The folder of the locks; empty if nothing is to be claimed.
        crasher: The name of the run that fails ...
        crash_after: ... each time it has been trained for so many iterations.
    """

    def __init__(
        self, in_channels: int, seconds: float, claims: str, crasher: str, crash_after: int
    ) -> None:
        super().__init__()
        first = torch.nn.Conv3d(in_channels, 4, 1)
        self.layers = torch.nn.Sequential(first, torch.nn.Dropout(0.1), torch.nn.Conv3d(4, 1, 1))
        own = zlib.crc32(RUN.encode()) % 1000 / 1000
        with torch.no_grad():
            assert first.bias is not None
            first.bias.add_(own)
        self.seconds = seconds * (0.5 + own)
        self.iterations_left = crash_after if crasher == RUN else None
        self.claims = claim_all(Path(claims)) if claims else []

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        if self.iterations_left is not None:
            self.iterations_left -= 1
            if self.iterations_left < 0:
                raise RuntimeError("made to crash")
        time.sleep(self.seconds)
        return self.layers(raw)


def claim_all(folder: Path) -> list[int]:
    """The descriptors of the locks, to be kept open."""
    node, gpus = os.environ["SLURMD_NODENAME"], os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    if (folder / f"broken {node}").exists():
        raise NodeFaultError(f"no GPU of {node} can be used")
    whole = not RUN.startswith("resources-gpus-0.")
    found = [claim(folder, f"gpu {gpu} of {node}", whole=whole) for gpu in gpus]
    return [*found, claim(folder, f"rank {RANK} of {RUN}", whole=True)]


def claim(folder: Path, what: str, *, whole: bool) -> int:
    path = folder / what.replace(" ", "-")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if whole else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = path.read_text()
        line = {"time": time.time(), "what": what, "run": RUN, "pid": os.getpid(), "of": holder}
        with (folder / "refused.jsonl").open("ab", buffering=0) as file:
            file.write(json.dumps(line).encode() + b"\n")
    else:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{RUN} {os.getpid()}".encode(), 0)
    return descriptor
