"""A network that hangs on demand; see `scripts.workloads.hangs`, which copies this beside a run.

An act is a file beside this one, with the name of what is to be done and the rank. It holds for how
many seconds, and is gone when that begins.
"""

import atexit
import ctypes
import os
import signal
import time
from pathlib import Path

import torch
from torch import nn

from trainers.distributed.distributed_group import DistributedGroup
from trainers.stream.sample_stream import SampleStream

HERE = Path(__file__).parent
RANK = os.environ.get("RANK", "0")


def is_due(name: str) -> float:
    """For how many seconds; 0 if it is not."""
    try:
        seconds = float((HERE / f"{name}.{RANK}").read_text())
        (HERE / f"{name}.{RANK}").unlink()
    except (FileNotFoundError, ValueError):  # there is none, or it is just being written
        return 0.0
    return seconds


def before(cls, name, act):
    """Let a method begin with an act."""
    method = getattr(cls, name)

    def acting(*arguments):
        time.sleep(is_due(act))
        return method(*arguments)

    setattr(cls, name, acting)


def sleep_at_exit():
    time.sleep(is_due("sleep_at_exit"))


class Net(nn.Conv3d):
    """Acts in the forward pass.

    Args:
        pause_s: So long an iteration takes at least.
        ballast_mb: So much more a checkpoint holds.
    """

    def __init__(self, in_channels, pause_s=0.0, ballast_mb=0):
        super().__init__(in_channels, 3, 3, padding=1)
        self.pause_s = pause_s
        if ballast_mb:
            self.register_buffer("ballast", torch.zeros(ballast_mb * 2**20 // 4))

    def forward(self, raw):
        if self.training:
            time.sleep(self.pause_s)
            for act in (self.stop, self.keep_the_gil, self.sleep):
                if seconds := is_due(act.__name__):
                    act(seconds)
        return super().forward(raw)

    def sleep(self, seconds):
        time.sleep(seconds)

    def keep_the_gil(self, _):
        ctypes.PyDLL(None).read(os.pipe()[0], ctypes.create_string_buffer(1), 1)

    def stop(self, _):
        os.kill(os.getpid(), signal.SIGSTOP)


before(SampleStream, "next", "be_late")
before(DistributedGroup, "any_rank", "be_late_to_vote")
atexit.register(sleep_at_exit)
time.sleep(is_due("sleep_at_import"))
