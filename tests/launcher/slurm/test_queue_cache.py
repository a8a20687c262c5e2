import errno
import os
import subprocess
import sys

import pytest

from launcher.slurm.jobs import QUEUE_COLUMNS
from launcher.slurm.queue_cache import queue_snapshot

CELLS = ("3_[0-1]", "PENDING", "0", "5:00", "N/A", "gpu", "", "Priority", "lab", "normal")
LINE = "".join(cell.ljust(width) for cell, width in zip(CELLS, QUEUE_COLUMNS.values(), strict=True))


class Squeue:
    """The only program on the path; counts how often it is called."""

    def __init__(self, folder):
        self._calls = folder / "calls"
        self._program = folder / "bin" / "squeue"
        self._program.parent.mkdir()
        self.answers(f"printf '%s\\n' '{LINE}'")

    def answers(self, script):
        self._program.write_text(f"#!/bin/sh\necho call >>'{self._calls}'\n{script}\n")
        self._program.chmod(0o755)

    @property
    def num_calls(self):
        return len(self._calls.read_text().splitlines()) if self._calls.exists() else 0


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/one.conf")
    return Squeue(tmp_path)


def test_the_next_one_is_told_what_the_last_one_was(squeue):
    """Slurm is asked once; all see the same, of the same time."""
    first, second = queue_snapshot(60), queue_snapshot(60)

    assert first == second
    assert list(first.jobs) == ["3_0", "3_1"]
    assert first.error is None
    assert squeue.num_calls == 1


def test_many_at_once_ask_once(squeue):
    """Those that come while Slurm is asked wait for its answer."""
    squeue.answers(f"sleep 0.5; printf '%s\\n' '{LINE}'")
    code = (
        "from launcher.slurm.queue_cache import queue_snapshot; print(len(queue_snapshot(60).jobs))"
    )
    command = [sys.executable, "-c", code]

    terminals = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(6)]

    assert [terminal.communicate()[0].strip() for terminal in terminals] == [b"2"] * 6
    assert squeue.num_calls == 1


def test_what_is_too_old_is_asked_for_again(squeue):
    """An age of 0 takes nobody's word but Slurm's; an answer from the future is no answer."""
    queue_snapshot(0)
    queue_snapshot(0)
    assert squeue.num_calls == 2

    (cache,) = (squeue._program.parents[1] / "cache" / "launch").glob("*.json")
    cache.write_text(cache.read_text().replace('"time": 1', '"time": 9'))
    queue_snapshot(60)
    assert squeue.num_calls == 3


def test_clusters_are_not_mixed_up(squeue, monkeypatch):
    """Another configuration of Slurm, another answer."""
    queue_snapshot(60)
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/two.conf")
    queue_snapshot(60)

    assert squeue.num_calls == 2


def test_silence_is_an_answer_too(squeue):
    """What Slurm says instead is shown to all, and does not raise."""
    squeue.answers("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")

    view = queue_snapshot(60)

    assert view.jobs == {}
    assert view.error.endswith("slurm_load_jobs error: Unable to contact slurm controller")
    assert queue_snapshot(60) == view
    assert squeue.num_calls == 1


def test_without_slurm(squeue, tmp_path, monkeypatch):
    """The view says so."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "no such program; run this where Slurm is" in queue_snapshot().error


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"jobs": {"1": {}}, "time": 0}', "\x00"])
def test_a_spoilt_file_is_replaced(squeue, content):
    """As is one of another version."""
    queue_snapshot(60)
    (cache,) = (squeue._program.parents[1] / "cache" / "launch").glob("*.json")
    cache.write_text(content)

    assert len(queue_snapshot(60).jobs) == 2
    assert len(queue_snapshot(60).jobs) == 2
    assert squeue.num_calls == 2


def test_a_home_that_cannot_be_written_to(squeue, tmp_path):
    """Everybody asks Slurm."""
    (tmp_path / "cache").write_text("a file where the folder should be")

    assert len(queue_snapshot(60).jobs) == 2
    assert len(queue_snapshot(60).jobs) == 2
    assert squeue.num_calls == 2


def test_a_home_without_locks(squeue, monkeypatch):
    """NFS without its lock service: Slurm is asked, once for each command."""

    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)

    assert len(queue_snapshot(60).jobs) == 2
    assert squeue.num_calls == 1


def test_a_full_home_costs_no_second_question(squeue, monkeypatch):
    """What Slurm has answered is used though it cannot be kept."""

    def refuse(path, snapshot):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("launcher.slurm.queue_cache._write", refuse)

    assert len(queue_snapshot(60).jobs) == 2
    assert squeue.num_calls == 1


def test_without_a_home(squeue, monkeypatch):
    """A user whom the machine does not know, with no $HOME."""
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 54321)

    assert len(queue_snapshot(60).jobs) == 2


def test_each_user_has_a_queue(squeue):
    """Another owner of jobs, another answer."""
    queue_snapshot(60)
    queue_snapshot(60, os.getuid())
    queue_snapshot(60, 54321)
    queue_snapshot(60, 54321)

    assert squeue.num_calls == 2


def test_a_program_that_may_not_be_run(squeue, monkeypatch):
    """Is as silent as a controller that is down."""
    squeue._program.chmod(0o644)
    monkeypatch.setenv("PATH", str(squeue._program.parent))

    assert "Permission denied" in queue_snapshot().error


def test_what_the_environment_says_about_squeue_does_not_count(squeue, monkeypatch):
    """Neither of the user's own settings, nor of a job that this process may belong to."""
    monkeypatch.setenv("SQUEUE_STATES", "FAILED")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    squeue.answers("env | grep -E '^(SQUEUE|SLURM)_' | sort >&2; exit 1")

    assert queue_snapshot().error.endswith(": SLURM_BITSTR_LEN=0 SLURM_CONF=/etc/slurm/one.conf")
    assert os.environ["SQUEUE_STATES"] == "FAILED"
