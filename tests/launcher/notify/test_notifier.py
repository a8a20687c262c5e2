"""A supervisor that has something told, and does not wait for it."""

import logging
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest

from launcher.job.bookkeeping import MemberRecords
from launcher.notify import notifier as notifier_module
from launcher.notify.notices import read_notices
from launcher.notify.notifier import Notifier
from scripts.workloads.processes import is_running
from tests.fakes.http_server import serving
from tests.launcher.job.test_bookkeeping import CRASH
from tests.launcher.job.test_node_supervisor import ONCE, wait_until
from tests.launcher.notify.experiment import TestedExperiment


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(notifier_module, "_MIN_INTERVAL_S", 0.1)
    monkeypatch.setattr(notifier_module, "_RETRY_S", 0.1)
    return lambda *names, **fields: TestedExperiment(tmp_path, names, **fields)


def is_working():
    return any(thread.name == "notices" for thread in threading.enumerate())


def test_the_end_of_a_run_is_told(make):
    """At the latest with the end of the supervisor."""
    experiment = make("a")
    experiment.end("a", "crashed", "ValueError: no", ONCE)
    notifier = Notifier(experiment.folder)
    notifier.look_at("a")

    notifier.close()

    assert experiment.titles == ["run a failed (crashed)", "its run is over: 1 failed"]


def test_a_counted_attempt_is_looked_at(make):
    """Once that is written."""
    experiment = make("a", events=("failed",))
    pack = experiment.folder.pack("pack-0000")
    notifier = Notifier(experiment.folder)
    records = MemberRecords(pack, notifier.look_at)

    counted = records.end(experiment.run("a"), ONCE, lambda state: CRASH)
    wait_until(lambda: counted.is_done)
    notifier.close()

    assert experiment.titles == ["run a failed (crashed)"]


def test_an_experiment_that_tells_nobody_starts_nothing(make, monkeypatch):
    """Not a process, not a file."""
    experiment = make("a")
    experiment.folder.notify.unlink()
    experiment.end("a", "finished")
    before = sorted(experiment.folder.path.rglob("*"))
    popen = Mock()
    monkeypatch.setattr("launcher.notify.notifier.subprocess.Popen", popen)
    notifier = Notifier(experiment.folder)

    notifier.look_at("a")
    notifier.close("a")

    wait_until(lambda: not is_working())
    popen.assert_not_called()
    assert sorted(experiment.folder.path.rglob("*")) == before


def test_a_job_that_is_requeued_leaves_the_rest_to_its_next_start(make):
    """What waits for company is written down, and told by whoever comes next."""
    experiment = make("a", "b")
    experiment.end("a", "crashed", "ValueError: no", ONCE)

    requeued, restarted = Notifier(experiment.folder), Notifier(experiment.folder)
    requeued.look_at("a", "b")
    wait_until(lambda: read_notices(experiment.folder).waiting)
    assert experiment.titles == []
    restarted.close("a", "b")

    assert experiment.titles == ["run a failed (crashed)"]
    requeued.close()
    assert len(experiment.titles) == 1


def test_a_server_that_hangs_holds_up_nobody(make, tmp_path, monkeypatch, caplog):
    """Not the one that looks, and at the end for as long as it waits; then all is ended."""
    monkeypatch.setattr(notifier_module, "TIMEOUT_S", 3.0)
    with serving(tmp_path) as server:
        server.fault = lambda path, number: "stall"
        experiment = make("a", url=f"{server.url}/hook", command="echo $$ > pid; sleep 1000")
        experiment.end("a", "finished")
        notifier = Notifier(experiment.folder)

        notifier.look_at("a")
        with caplog.at_level(logging.WARNING):
            notifier.close()

        assert "not everything could be told within 3 s" in caplog.text
        pid = int((experiment.folder.path / "pid").read_text())
        wait_until(lambda: not is_running(pid))
        wait_until(lambda: not is_working())


def test_what_cannot_be_told_is_in_the_log(make, caplog):
    """In the words that `launch explain` has."""
    experiment = make("a", command="echo no mail here; exit 1", events=("finished",))
    experiment.end("a", "finished")

    with caplog.at_level(logging.WARNING):
        Notifier(experiment.folder).close("a")

    assert "'fib25: run a finished' was not told: command: exit code 1: no mail" in caplog.text


def test_a_disk_that_is_away_is_asked_again(make, caplog):
    """What is looked at is not forgotten."""
    experiment = make("a", events=("finished",))
    experiment.end("a", "finished")
    state = experiment.run("a").state
    state.rename(state.with_name("away"))
    notifier = Notifier(experiment.folder)
    with caplog.at_level(logging.WARNING):
        notifier.look_at("a")
        wait_until(lambda: "is told later" in caplog.text)

    state.with_name("away").rename(state)
    wait_until(lambda: experiment.folder.notices.stat().st_size > 100)
    notifier.close()

    assert experiment.titles == ["run a finished"]


def test_a_program_that_cannot_be_started(make, monkeypatch, caplog):
    """As on a machine that is out of processes for a moment: it is tried again."""

    def refuse(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    experiment = make("a", events=("finished",))
    experiment.end("a", "finished")
    notifier = Notifier(experiment.folder)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr("launcher.notify.notifier.subprocess.Popen", refuse)
        notifier.look_at("a")
        wait_until(lambda: "is told later: [Errno 11] Resource" in caplog.text)
    notifier.close()

    assert experiment.titles == ["run a finished"]


def test_looking_does_not_wait(make, monkeypatch):
    """Although the disk hangs that says whether anybody is to be told."""
    hangs = threading.Event()
    experiment = make("a")
    monkeypatch.setattr(Path, "read_bytes", lambda path: hangs.wait())
    notifier = Notifier(experiment.folder)

    for number in range(1000):
        notifier.look_at(f"run-{number}")

    assert is_working()
    assert not hangs.is_set()
    monkeypatch.undo()
    experiment.folder.notify.unlink()
    hangs.set()
    notifier.close()
    wait_until(lambda: not is_working())
