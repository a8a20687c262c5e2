"""A kill at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainers.checkpoints import CheckpointReader

IDENTITY = "0123456789abcdef"

NUM_KILLS = 20


def test_nothing_acknowledged_is_lost_to_a_kill(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whenever a writer is killed, what it has acknowledged is there, and nothing is torn."""
    command = [
        sys.executable,
        str(Path(__file__).with_name("save_forever.py")),
        str(folder),
        IDENTITY,
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    delays = random.Random(0)
    acknowledged = 0
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for _ in range(NUM_KILLS):
            print(file=parent.stdin, flush=True)
            pid = int(parent.stdout.readline())
            acknowledged = int(parent.stdout.readline())
            time.sleep(delays.uniform(0, 0.1))
            os.kill(pid, signal.SIGKILL)
            for line in iter(parent.stdout.readline, "dead\n"):
                acknowledged = int(line)

            newest = CheckpointReader(folder, identity=IDENTITY).newest()

            assert newest is not None
            assert newest.iteration in (acknowledged, acknowledged + 1)
            assert (newest.state["weight"] == newest.iteration).all()
            assert caplog.text == ""
        parent.stdin.close()
    assert acknowledged > NUM_KILLS
