"""A trainer whose supervisor is gone checkpoints and goes."""

import os
import subprocess
import sys

import pytest

TRAINER = """
import sys, time
from trainers.stop_flag import StopFlag
from trainers.stop_flag import set_pdeathsig
stop = StopFlag()
stop.listen()
set_pdeathsig()
print("begun", flush=True)
while not stop():
    time.sleep(0.01)
print(stop.received.name, flush=True)
"""

SUPERVISOR = f"""
import os, subprocess, sys
environment = {{**os.environ, "LAUNCH_SUPERVISOR_PID": str(os.getpid())}}
subprocess.run([sys.executable, "-c", {TRAINER!r}], env=environment)
"""


def test_a_killed_supervisor_stops_its_trainers():
    """Even a SIGKILL, that no supervisor can pass on, reaches them as SIGTERM."""
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout.readline() == "begun\n"

        supervisor.kill()

        assert supervisor.stdout.readline() == "SIGTERM\n"


@pytest.mark.parametrize(("supervisor", "expected"), [("1", "begun\nSIGTERM\n"), (None, "begun\n")])
def test_a_supervisor_may_be_gone_before_the_trainer_looks(supervisor, expected):
    """It stops at once; a trainer that was started by hand does not."""
    environment = {key: os.environ[key] for key in os.environ if key != "LAUNCH_SUPERVISOR_PID"}
    if supervisor:
        environment["LAUNCH_SUPERVISOR_PID"] = supervisor
    with subprocess.Popen(
        [sys.executable, "-c", TRAINER], stdout=subprocess.PIPE, text=True, env=environment
    ) as trainer:
        said = trainer.stdout.readline()
        if supervisor is None:
            trainer.kill()
        said += trainer.stdout.read()

    assert said == expected
