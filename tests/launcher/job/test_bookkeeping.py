"""What a supervisor records, on a disk that fails."""

import errno
import os
import time

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job import bookkeeping
from launcher.job.attempt_end import AttemptEnd
from launcher.job.bookkeeping import MemberRecords, PackRecords
from scripts.workloads.logs import json_lines
from tests.launcher.job.test_node_supervisor import wait_until
from trainers.config.run_config import RetriesConfig
from trainers.errors import LeaseLostError
from trainers.run.run_state import Cause, RunState, read_state, write_state

CRASH = AttemptEnd(cause=Cause.CRASHED, reason="exit code 1")


@pytest.fixture
def run(tmp_path):
    run = ExperimentFolder(tmp_path).run("a")
    run.path.mkdir(parents=True)
    write_state(run, RunState(status="running", pack="pack-0000", wandb_id="abcd"))
    return run


@pytest.fixture
def pack(tmp_path):
    return ExperimentFolder(tmp_path).pack("pack-0000")


def test_an_end_is_counted_once_however_often_it_is_written(run, pack, monkeypatch):
    """A write may fail after it has replaced the file."""
    failures = [OSError(errno.EIO, os.strerror(errno.EIO))] * 2

    def write_and_fail(*arguments):
        write_state(*arguments)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(bookkeeping, "write_state", write_and_fail)
    counted = MemberRecords(pack).end(run, RetriesConfig(), lambda state: CRASH)
    wait_until(lambda: counted.is_done)

    assert read_state(run).attempts == {"crashed": 1}
    assert [event["event"] for event in json_lines(run.events)] == ["ended"]


def test_an_unreadable_state_is_read_again_and_never_made_up(run, pack, monkeypatch):
    """Attempts, pack and W&B id stay."""
    failures = [OSError(errno.ESTALE, os.strerror(errno.ESTALE))] * 2

    def fail_and_read(*arguments):
        if failures:
            raise failures.pop()
        return read_state(*arguments)

    monkeypatch.setattr(bookkeeping, "read_state", fail_and_read)
    started = MemberRecords(pack).start(run)
    wait_until(lambda: started.is_done)

    assert started.answer == 0
    assert read_state(run) == RunState(status="running", pack="pack-0000", wandb_id="abcd")


def test_a_start_can_be_taken_back(run, pack):
    """When the job is to stop in between: the run waits for its next attempt, uncounted."""
    records = MemberRecords(pack)
    records.start(run)
    records.take_back_start(run)
    records.close(10)

    assert (read_state(run).status, read_state(run).attempts) == ("waiting", {})


def test_a_supervisor_that_was_replaced_writes_nothing(run, tmp_path):
    """It hears of it at its next look."""

    def fence():
        raise LeaseLostError("process 2 on n2 has taken over")

    folder = PackFolder(tmp_path / "jobs" / "pack-0000", fence=fence)
    records = MemberRecords(folder)
    records.end(run, RetriesConfig(), lambda state: CRASH)

    with pytest.raises(LeaseLostError):
        records.wait(10)
        records.wait(10)
    assert read_state(run).status == "running"


def test_a_message_that_cannot_be_seen_is_as_it_was(pack):
    """A client of NFS sees no file for a moment, or half of one, while it is replaced."""
    pack.path.mkdir(parents=True)
    path, other = pack.path / "stop.json", pack.path / "other.json"
    records = PackRecords(pack)
    assert records.latest(path) == records.latest(other) == {}
    path.write_text('{"start": 1}')
    wait_until(lambda: records.latest(path) == {"start": 1})

    path.unlink()
    other.write_text('{"start"')
    time.sleep(0.3)
    other.write_text('{"start": 2}')
    wait_until(lambda: records.latest(other) == {"start": 2})

    assert records.latest(path) == {"start": 1}
