"""The process of a supervisor."""

import os
import subprocess
import sys
import time

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.machine import Machine
from launcher.job.pack import Member, Pack, write_pack
from trainers.config.run_config import RetriesConfig
from trainers.run.run_state import RunState, read_state, write_state

RUN = "import sys; from launcher.job.pack_job import run_pack; run_pack(sys.argv[1])"


@pytest.fixture
def hanging_log():
    """A pipe that takes nothing more, and that nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, bytes(4096))
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    yield writing
    os.close(writing)
    os.close(reading)


def test_a_log_that_hangs_stops_no_supervisor(tmp_path, monkeypatch, hanging_log):
    """It runs its members to their end: here one whose config is wrong."""
    monkeypatch.setenv("LAUNCH_SLOTS_DIR", str(tmp_path / "slots"))
    pack = ExperimentFolder(tmp_path / "one").pack("pack-0000")
    pack.path.mkdir(parents=True)
    run = pack.experiment.run("a")
    run.path.mkdir(parents=True)
    write_state(run, RunState(status="submitted", pack=pack.name))
    run.config.write_text("seed: none\n")
    member = Member(name="a", gpus=0, cpus=1, retries=RetriesConfig(crashed=0))
    machine = Machine(cores=(0,), is_pinned=False)
    write_pack(pack, Pack(members=(member,), machine=machine, grace_s=10.0))

    supervisor = subprocess.Popen([sys.executable, "-c", RUN, str(pack.path)], stderr=hanging_log)
    deadline = time.monotonic() + 90
    while read_state(run).status != "failed" and time.monotonic() < deadline:
        time.sleep(0.1)
    supervisor.kill()
    supervisor.wait()

    assert read_state(run).status == "failed"
