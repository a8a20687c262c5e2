"""Ending runs, wherever they are on their way."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import cli
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.monitor.status import read_statuses
from launcher.submission.cancel import cancel_runs
from tests.fakes.fake_slurm import submitted
from trainers.run.lease import Lease
from trainers.run.run_state import RunState, read_state, write_state


@pytest.fixture
def experiment(tmp_path):
    return ExperimentFolder(tmp_path / "one")


def cancelled(experiment, *names):
    """The outcome for each run."""
    found = cancel_runs([experiment.run(name) for name in names])
    return {each.name: each.outcome for each in found}


def test_runs_of_waiting_jobs_end_at_once(experiment, slurm):
    """Their jobs leave the queue with one call, unless these have begun meanwhile."""
    submitted(experiment, "pack-0001", "a", "b", job_id="12_0", status="waiting")
    submitted(experiment, "pack-0002", "c", job_id="12_1")
    slurm.queue(("12_[0-1]", "PENDING", "Priority"))

    outcomes = cancelled(experiment, "a", "b", "c")

    gone = "cancelled; its job {} was removed from the queue"
    assert outcomes == {
        "a": gone.format("12_0"),
        "b": gone.format("12_0"),
        "c": gone.format("12_1"),
    }
    assert slurm.calls("scancel") == ["--quiet --state=PENDING 12_0 12_1"]
    assert [read_state(experiment.run(name)).status for name in "abc"] == ["cancelled"] * 3


def test_a_job_with_other_runs_stays(experiment, slurm):
    """Until the last of its runs that are not over is cancelled too."""
    submitted(experiment, "pack-0001", "a", "b", "c", job_id="12_0")
    write_state(experiment.run("c"), RunState(status="finished", pack="pack-0001"))
    slurm.queue(("12_0", "PENDING"))

    assert cancelled(experiment, "a") == {"a": "cancelled"}
    assert slurm.calls("scancel") == []

    assert "removed from the queue" in cancelled(experiment, "b")["b"]
    assert slurm.calls("scancel") == ["--quiet --state=PENDING 12_0"]


def test_a_run_that_a_later_pack_has_keeps_no_job(experiment, slurm):
    """The earlier pack's job has nothing to do with it any more."""
    submitted(experiment, "pack-0001", "a", "b", job_id="12_0")
    submitted(experiment, "pack-0002", "b", job_id="12_1")
    slurm.queue(("12_[0-1]", "PENDING"))

    cancelled(experiment, "a")

    assert slurm.calls("scancel") == ["--quiet --state=PENDING 12_0"]


def test_a_job_that_has_begun_ends_by_itself(experiment, slurm):
    """Its supervisor sees the requests; what it has in hand is its own to write about."""
    pack = submitted(experiment, "pack-0001", "a", "b", job_id="12_0")
    write_state(experiment.run("a"), RunState(status="running", pack="pack-0001"))
    slurm.queue(("12_0", "RUNNING"))

    with Lease.take(pack.lease, owner="pack-0001", attempt=0):
        outcomes = cancelled(experiment, "a", "b")

    assert outcomes == {
        "a": "its supervisor will signal it to checkpoint and exit",
        "b": "cancelled",
    }
    assert slurm.calls("scancel") == []
    assert experiment.run("b").cancel_request.exists()
    assert read_state(experiment.run("b")).status == "submitted"


def test_a_silent_slurm_keeps_nobody_from_cancelling(experiment, slurm):
    """The job finds nothing to do when it comes; that is said."""
    submitted(experiment, "pack-0001", "a", job_id="12_0")
    slurm.queue(("12_0", "PENDING"))
    (slurm.folder / "scancel.sh").write_text("echo 'scancel: error: timed out' >&2; exit 1")

    outcome = cancelled(experiment, "a")["a"]

    assert outcome == (
        "cancelled; its job 12_0 is still in the queue and will find nothing to do: "
        "`scancel --quiet --state=PENDING 12_0`: scancel: error: timed out"
    )
    (status,) = read_statuses([experiment.run("a")])
    assert (status.state, status.is_expected) == ("cancelled", False)


def test_what_has_ended_is_left_alone(experiment, slurm):
    """Slurm is not asked."""
    submitted(experiment, "pack-0001", "a", status="finished")

    assert cancelled(experiment, "a") == {"a": "finished already"}
    assert not experiment.run("a").cancel_request.exists()
    assert slurm.calls("squeue") == []


def test_one_run_that_cannot_be_cancelled_stops_no_other(experiment, slurm, monkeypatch):
    """It says why, and counts as failed; its job stays."""
    submitted(experiment, "pack-0001", "a", job_id="12_0")
    submitted(experiment, "pack-0002", "b", job_id="12_1")
    slurm.queue(("12_[0-1]", "PENDING"))
    private, touch = experiment.run("a").cancel_request, Path.touch

    def touch_unless_private(path):
        if path == private:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        touch(path)

    monkeypatch.setattr(Path, "touch", touch_unless_private)
    first, second = cancel_runs([experiment.run(name) for name in "ab"])

    assert first.failed and not second.failed
    assert first.outcome == (
        f"not cancelled: {private}: Permission denied, while requesting that the run end: ask its "
        "owner for access, or take another folder (`ls -ld` shows who may use which)"
    )
    assert second.outcome == "cancelled; its job 12_1 was removed from the queue"
    assert slurm.calls("scancel") == ["--quiet --state=PENDING 12_1"]


@pytest.mark.parametrize("what", ["events", "state"])
def test_a_cancellation_counts_without_its_records(experiment, slurm, monkeypatch, what):
    """The request alone makes the run cancelled; what could not be written is a warning."""
    submitted(experiment, "pack-0001", "a", job_id="12_0", status="waiting")
    slurm.queue(("12_0", "PENDING"))
    full = OSError(errno.ENOSPC, "No space left on device", "/full")
    name = {"events": "append_event", "state": "write_state"}[what]

    def refuse(*arguments, **options):
        raise full

    monkeypatch.setattr(f"launcher.submission.cancel.{name}", refuse)

    assert cancelled(experiment, "a") == {"a": "cancelled; its job 12_0 was removed from the queue"}
    assert read_statuses([experiment.run("a")])[0].state == "cancelled"


def test_a_request_that_cannot_be_seen_again_stops_no_cancellation(experiment, slurm, monkeypatch):
    """The disk fails between the request and the record of it: the outcome is told."""
    submitted(experiment, "pack-0001", "a", job_id="12_0", status="waiting")
    slurm.queue(("12_0", "PENDING"))
    request, exists = experiment.run("a").cancel_request, Path.exists

    def fail_after_touch(path):
        if path == request and exists(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", fail_after_touch)
    (outcome,) = cancel_runs([experiment.run("a")])

    assert (outcome.outcome, outcome.failed) == ("cancelled", False)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a process of another user")
def test_the_trainer_of_a_colleague_is_left_to_its_supervisor(experiment):
    """A signal to it is refused, and the request is enough."""
    run = experiment.run("a")
    run.path.mkdir(parents=True)
    write_state(run, RunState(status="running"))
    code = (
        "import sys; from pathlib import Path; from trainers.run.run_folder import RunFolder; "
        "from launcher.submission.cancel import cancel_runs; "
        "print(cancel_runs([RunFolder(Path(sys.argv[1]))])[0].outcome)"
    )
    plain_user = ("setpriv", "--reuid=54321", "--inh-caps=-all", "--ambient-caps=-all")
    trainer = subprocess.Popen([*plain_user, "sleep", "60"])
    try:
        with Lease.take(run.lease, owner="x", attempt=0):
            held = json.loads(run.lease.read_bytes())
            started = int(
                Path(f"/proc/{trainer.pid}/stat").read_text().rpartition(")")[2].split()[19]
            )
            run.lease.write_text(
                json.dumps(held | {"pid": trainer.pid, "process_started": started})
            )
            done = subprocess.run(
                ["setpriv", "--bounding-set=-kill", sys.executable, "-c", code, run.path],
                capture_output=True,
                text=True,
            )
    finally:
        trainer.kill()
        trainer.wait()

    assert done.stdout == "its supervisor will signal it to checkpoint and exit\n", done.stderr


def test_a_cancellation_as_json(experiment, slurm, capsys):
    """Programs are told the same as people."""
    submitted(experiment, "pack-0001", "a", job_id="12_0")

    assert cli.main(["cancel", str(experiment.path), "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == [
        {
            "name": "a",
            "folder": str(experiment.run("a").path),
            "outcome": "cancelled",
            "failed": False,
        }
    ]
