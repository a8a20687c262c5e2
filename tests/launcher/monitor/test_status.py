import errno
import io
import json
import os

import attrs
import pytest

from launcher import file_lock
from launcher.errors import LauncherError
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.attempt_end import AttemptEnd
from launcher.job.pack import Member, read_job, write_job
from launcher.job.record_end import record_end
from launcher.job.unfinished_members import unfinished
from launcher.monitor.find_run import find_runs
from launcher.monitor.status import read_statuses
from launcher.monitor.status_table import status_table
from launcher.monitor.watch import is_under_way, watch
from tests.fakes.fake_slurm import add_events, job_printed, submitted
from trainers.config.run_config import RetriesConfig
from trainers.run.lease import Lease
from trainers.run.lease_file import file_system_time
from trainers.run.run_figures import BestMetric, RunFigures
from trainers.run.run_state import Cause, RunState, Status, read_state, write_state


@pytest.fixture
def root(tmp_path):
    """Two experiments, of two runs and one."""
    for experiment, run in (("one", "a"), ("one", "b"), ("two", "a")):
        folder = ExperimentFolder(tmp_path / experiment).run(run)
        folder.path.mkdir(parents=True)
        write_state(folder, RunState(num_iterations=10, pack="pack-0000"))
    (tmp_path / "one" / "runs" / ".unfinished").mkdir()
    (tmp_path / "notes").mkdir()
    return tmp_path


def status_of(folder):
    (status,) = read_statuses([folder])
    return status


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".", ["one/runs/a", "one/runs/b", "two/runs/a"]),
        ("one", ["one/runs/a", "one/runs/b"]),
        ("one/runs/b", ["one/runs/b"]),
    ],
)
def test_runs_are_found_from_every_level(root, path, expected):
    """A root, an experiment or a run will do; what is not a run is passed over."""
    assert [str(run.path.relative_to(root)) for run in find_runs(root / path)] == expected


@pytest.mark.parametrize(
    ("path", "message"),
    [("notes", "notes holds no runs; give"), ("no", "no is not a directory; give")],
)
def test_a_foreign_folder_is_refused(root, path, message):
    """The error says what a folder is needed for."""
    with pytest.raises(LauncherError, match=message):
        find_runs(root / path)


def test_a_run_is_running_while_its_lease_is_held(root):
    """A trainer without a supervisor is running; without either, the run waits."""
    run = ExperimentFolder(root / "one").run("a")
    write_state(run, RunState(status="running", iteration=4))

    with Lease.take(run.lease, owner="somebody", attempt=0):
        assert status_of(run).state == "running"

    status = status_of(run)
    assert (status.state, status.iteration) == ("waiting", 4)
    assert status.reason == "its processes exited without recording a cause; submit again to resume"


def test_a_run_is_submitted_while_its_supervisor_lives(root):
    """Of the pack that has the run to do, not of any other."""
    experiment = ExperimentFolder(root / "one")
    for pack in ("pack-0000", "pack-0001"):
        experiment.pack(pack).path.mkdir(parents=True)
    write_state(experiment.run("a"), RunState(status="submitted", pack="pack-0000"))
    write_state(experiment.run("b"), RunState(status="submitted", pack="pack-0001"))

    with Lease.take(experiment.pack("pack-0001").lease, owner="pack-0001", attempt=0):
        statuses = read_statuses(find_runs(experiment.path))

    assert [(each.state, each.is_expected) for each in statuses] == [
        ("waiting", False),
        ("submitted", True),
    ]


def test_a_failure_is_the_last_word_once_it_is_judged(root):
    """A trainer tells of it first; its supervisor may start the run again."""
    experiment = ExperimentFolder(root / "one")
    pack, run = experiment.pack("pack-0000"), experiment.run("a")
    pack.path.mkdir(parents=True)
    write_state(run, RunState(status="failed", reason="RankError: lost", pack=pack.name))
    run.logs.mkdir()
    run.log(0).touch()
    members = [Member(name="a", gpus=1, cpus=1)]

    with Lease.take(pack.lease, owner=pack.name, attempt=0):
        status = status_of(run)
        assert (status.state, status.is_expected, status.reason) == ("running", True, "")
        assert unfinished(pack, members) == members
        record_end(run, AttemptEnd(cause=Cause.CRASHED), RetriesConfig(crashed=0))
        status = status_of(run)
        assert (status.state, status.is_expected) == ("failed", False)
        assert unfinished(pack, members) == []


def test_runs_of_a_job_in_the_queue_are_on_their_way(root, slurm):
    """One that was preempted waits for its job, which nobody needs to submit."""
    experiment = ExperimentFolder(root / "one")
    submitted(experiment, "pack-0001", "a", status="waiting", reason="preempted (SIGTERM)")
    submitted(experiment, "pack-0002", "b", job_id="13")
    slurm.queue(("12_[1-5]", "PENDING", "Priority"), ("13", "PENDING", "Resources"))

    first, second = read_statuses(find_runs(experiment.path))

    assert (first.state, first.job_id, first.job_state) == ("waiting", "12_3", "PENDING")
    assert first.reason == "preempted (SIGTERM); its job 12_3 waits in the queue: Priority"
    assert (second.state, second.job_id) == ("submitted", "13")
    assert second.reason == "its job 13 waits in the queue: Resources"
    assert is_under_way(first) and is_under_way(second)
    assert slurm.calls("sacct") == []


def test_a_run_of_a_suspended_job_is_running(root, slurm):
    """Its leases have expired on the node, and nothing may start it beside itself."""
    experiment = ExperimentFolder(root / "one")
    submitted(experiment, "pack-0001", "a", status="running")
    slurm.queue(("12_3", "SUSPENDED"))

    status = status_of(experiment.run("a"))

    assert (status.state, status.is_expected) == ("running", True)
    assert status.reason == "its job 12_3 is in the queue: SUSPENDED"


def test_a_run_that_is_slow_says_so_while_it_runs(root):
    """In the table, and as JSON."""
    run = ExperimentFolder(root / "one").run("a")
    concern = "slow: 1.3 s an iteration, 0.6 s at its best; data grew most, from 0.1 to 0.7 s"
    write_state(run, RunState(status="running", concern=concern))

    with Lease.take(run.lease, owner="somebody", attempt=0):
        running = status_of(run)
    ended = status_of(run)

    assert (running.concern, ended.concern) == (concern, "")
    assert concern in status_table([running])


def test_figures_of_a_run_are_read_from_its_state(root):
    """Its metrics are not opened; the ETA is what is left at its recent rate."""
    run = ExperimentFolder(root / "one").run("a")
    best = BestMetric(metric="loss", mode="min", value=0.25, iteration=3)
    figures = RunFigures(
        loss=0.5,
        iterations_per_s=0.5,
        best=best,
        node="gpu01",
        num_nodes=2,
        alive_at=file_system_time(root) - 100,
    )
    state = RunState(status="running", iteration=4, num_iterations=10, figures=figures)
    write_state(run, state)
    run.metrics.mkdir()

    with Lease.take(run.lease, owner="somebody", attempt=0):
        running = status_of(run)
    ended = status_of(run)

    assert (running.loss, running.iterations_per_s, running.best) == (0.5, 0.5, best)
    assert (running.node, running.num_nodes, running.eta_s) == ("gpu01", 2, 12.0)
    assert 99 < running.silent_s < 200
    assert (ended.state, ended.loss, ended.eta_s) == ("waiting", 0.5, None)


def test_a_trainer_whose_clock_is_ahead_was_heard_of_now(root):
    """Ages are by the clock of the file system, and never negative."""
    run = ExperimentFolder(root / "one").run("a")
    write_state(run, RunState(figures=RunFigures(alive_at=file_system_time(root) + 1000)))

    assert status_of(run).silent_s == 0


def test_runs_of_jobs_that_are_gone_wait_to_be_submitted(root, slurm):
    """Accounting is asked once for all of them, and about no other job."""
    experiment = ExperimentFolder(root / "one")
    submitted(experiment, "pack-0001", "a", status="running")
    submitted(experiment, "pack-0002", "b", job_id="14_0")
    slurm.ended(_12_3="NODE_FAIL", _14_0="CANCELLED by 0")

    statuses = read_statuses(find_runs(experiment.path))

    assert [(each.state, each.is_expected, each.job_state) for each in statuses] == [
        ("waiting", False, None),
        ("waiting", False, None),
    ]
    assert statuses[0].reason == (
        "its processes exited without recording a cause; "
        "its job 12_3 has left the queue (NODE_FAIL); "
        "submit again to resume"
    )
    assert "its job 14_0 has left the queue (CANCELLED); submit" in statuses[1].reason
    (call,) = slurm.calls("sacct")
    assert "--jobs=12,14 " in call


def test_without_accounting_the_queue_is_enough(root, slurm):
    """What became of a job that is gone is not told then."""
    submitted(ExperimentFolder(root / "one"), "pack-0001", "a")
    slurm.is_silent("sacct")

    (status,) = read_statuses(find_runs(root / "one" / "runs" / "a"))

    assert status.reason == "its job 12_3 has left the queue; submit again to resume"


def test_a_job_that_died_before_it_began(root, slurm):
    """How, and where its words are, in short; one that has begun, or was silent, is just gone."""
    experiment = ExperimentFolder(root / "one")
    early = submitted(experiment, "pack-0001", "a")
    begun = submitted(experiment, "pack-0002", "b", job_id="14_0")
    for pack, job_id in ((early, "12_3"), (begun, "14_0")):
        job_printed(pack, "python: not found", job_id=job_id)
    add_events(begun.events, {"time": 5, "event": "started", "job": "14_0"})
    slurm.ended("127:0", _12_3="FAILED", _14_0="FAILED")

    first, second = read_statuses(find_runs(experiment.path))

    assert first.reason == (
        "its job 12_3 ended before it began (FAILED, exit code 127): see `launch logs`; "
        "submit again to resume"
    )
    assert second.reason == (
        "its job 14_0 has left the queue (FAILED, exit code 127); submit again to resume"
    )


def test_a_signal_that_ended_a_job_is_told(root, slurm):
    """As accounting has it."""
    submitted(ExperimentFolder(root / "one"), "pack-0001", "a")
    slurm.ended("0:9", _12_3="FAILED")

    (status,) = read_statuses([ExperimentFolder(root / "one").run("a")])

    assert "its job 12_3 has left the queue (FAILED, signal 9); submit" in status.reason


def of_somebody_else(pack, **changes):
    """Make the job of a pack that of another user."""
    job = attrs.evolve(read_job(pack), user="them", uid=54321, **changes)
    write_job(pack, job)


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of several users")
def test_the_jobs_of_a_colleague_are_asked_for(root, slurm, recorded):
    """Of whoever submitted a pack, once for each; one that waits is not taken for gone.

    An earlier version has not recorded it: then that is the owner of the file.
    """
    experiment = ExperimentFolder(root / "one")
    submitted(experiment, "pack-0001", "a")
    theirs = submitted(experiment, "pack-0002", "b", job_id="14_0")
    if recorded:
        of_somebody_else(theirs)
    else:
        theirs.job.write_text('{"job_id": "14_0", "submitted": 1}')
        os.chown(theirs.job, 54321, 54321)
    slurm.queue(("14_0", "PENDING", "Priority"), ("12_3", "PENDING", "Priority"))

    for _ in range(2):
        first, second = read_statuses(find_runs(experiment.path))

    assert (first.state, second.state) == ("submitted", "submitted")
    assert second.reason == "its job 14_0 waits in the queue: Priority"
    users = [call.partition("--user=")[2].split()[0] for call in slurm.calls("squeue")]
    assert sorted(users) == ["54321", "root"]


@pytest.mark.parametrize(
    ("ended", "state", "reason"),
    [
        ({}, "submitted", "whether its job 14_0 of them is in the queue is not known: Slurm does"),
        ({"_14_0": "PENDING"}, "submitted", "whether its job 14_0 of them is in the queue is not"),
        (
            {"_14_0": "TIMEOUT"},
            "waiting",
            "its job 14_0 has left the queue (TIMEOUT); submit again",
        ),
    ],
)
def test_a_hidden_job_is_not_gone(root, slurm, monkeypatch, ended, state, reason):
    """Sites may hide jobs of other users: only what accounting says of them is the end of them."""
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    experiment = ExperimentFolder(root / "one")
    of_somebody_else(submitted(experiment, "pack-0002", "b", job_id="14_0"))
    slurm.queue()
    slurm.ended(**ended)

    status = status_of(experiment.run("b"))

    assert (status.state, status.is_expected) == (state, state == "submitted")
    assert status.reason.startswith(reason)


def test_a_watch_asks_about_a_job_that_is_gone_once(root, slurm):
    """However long it goes on."""
    experiment = ExperimentFolder(root / "one")
    submitted(experiment, "pack-0001", "a")
    submitted(experiment, "pack-0002", "b", job_id="13")
    slurm.queue(("13", "PENDING", "Priority"))

    looks = watch(find_runs(experiment.path), poll_s=0)
    for _ in range(3):
        assert [each.state for each in next(looks)] == ["waiting", "submitted"]

    assert (len(slurm.calls("squeue")), len(slurm.calls("sacct"))) == (1, 1)


def test_the_queue_is_asked_once_for_all_runs(root, slurm):
    """And not again within seconds."""
    submitted(ExperimentFolder(root / "one"), "pack-0001", "a", "b")
    submitted(ExperimentFolder(root / "two"), "pack-0001", "a", job_id="13")

    for _ in range(3):
        assert len(read_statuses(find_runs(root))) == 3

    assert len(slurm.calls("squeue")) == 1


def test_slurm_is_not_asked_about_what_is_over(root, slurm):
    """Finished runs are finished; the table still names their job."""
    submitted(ExperimentFolder(root / "one"), "pack-0001", "a", "b", status="finished")

    statuses = read_statuses(find_runs(root))

    assert [(each.state, each.job_id) for each in statuses[:2]] == [("finished", "12_3")] * 2
    assert slurm.calls("squeue") == slurm.calls("sacct") == []


def test_when_slurm_is_silent_the_folders_speak(root, slurm):
    """A run whose job may still be queued is on its way as far as one can know."""
    experiment = ExperimentFolder(root / "one")
    submitted(experiment, "pack-0001", "a", "b")
    write_state(
        experiment.run("b"), attrs.evolve(read_state(experiment.run("b")), status="running")
    )
    slurm.is_silent()

    statuses = read_statuses(find_runs(experiment.path))

    assert [each.state for each in statuses] == ["submitted", "waiting"]
    for status in statuses:
        assert status.is_expected
        assert status.doubt is not None and status.doubt in status.reason
        assert "Slurm does not answer: `squeue" in status.doubt


def test_a_job_may_be_younger_than_the_view(root, slurm):
    """One that was submitted a moment ago is not in the queue of a few seconds ago."""
    experiment = ExperimentFolder(root / "one")
    submitted(experiment, "pack-0001", "a", ago_s=0)

    (status,) = read_statuses([experiment.run("a")])

    assert (status.state, status.is_expected) == ("submitted", True)
    assert status.reason == "its job 12_3 was submitted a moment ago"


def test_a_submission_may_be_going_on(root, slurm):
    """The experiment's lock tells whether somebody is at it, unless it is held by who asks."""
    experiment = ExperimentFolder(root / "one")
    submitted(experiment, "pack-0001", "a", job_id=None)
    run = experiment.run("a")

    with file_lock.hold(experiment.lock):
        (being_submitted,) = read_statuses([run])
        (asked_by_holder,) = read_statuses([run], is_locked=True)
    (interrupted,) = read_statuses([run])

    assert (being_submitted.state, being_submitted.is_expected) == ("submitted", True)
    for status in (asked_by_holder, interrupted):
        assert (status.state, status.is_expected) == ("waiting", False)
        assert status.reason == "its submission was interrupted; submit again to resume"


def test_a_run_that_has_ended_waits_for_its_supervisor_to_say_so(root):
    """What the trainer wrote is not the last word while its attempt is not counted."""
    experiment = ExperimentFolder(root / "one")
    pack, run = experiment.pack("pack-0000"), experiment.run("a")
    pack.path.mkdir(parents=True)
    state = RunState(status="failed", pack="pack-0000")
    run.logs.mkdir()
    run.log(0).touch()

    with Lease.take(pack.lease, owner="pack-0000", attempt=0):
        write_state(run, state)
        assert is_under_way(status_of(run))
        write_state(run, state.ended(cause=Cause.CRASHED, status=Status.FAILED))
        assert not is_under_way(status_of(run))


def test_a_status_is_plain_data(root, slurm):
    """JSON has it as it is."""
    submitted(ExperimentFolder(root / "one"), "pack-0001", "a")
    slurm.queue(("12_3", "RUNNING"))

    status = attrs.asdict(status_of(ExperimentFolder(root / "one").run("a")))

    assert json.loads(json.dumps(status)) == {
        "name": "a",
        "experiment": "one",
        "folder": str(root / "one" / "runs" / "a"),
        "state": "submitted",
        "iteration": 0,
        "num_iterations": 10,
        "attempts": {},
        "reason": "its job 12_3 is running",
        "wandb_lag": None,
        "wandb_id": "",
        "concern": "",
        "is_expected": True,
        "pack": "pack-0001",
        "job_id": "12_3",
        "job_state": "RUNNING",
        "doubt": None,
        "loss": None,
        "iterations_per_s": None,
        "best": None,
        "node": "",
        "num_nodes": 1,
        "silent_s": None,
        "eta_s": None,
    }


def test_an_unreadable_state_is_told(root):
    """The other runs are shown, and the damaged one says what to do."""
    (root / "one" / "runs" / "a" / "state.json").write_text("{")

    damaged, other = read_statuses(find_runs(root / "one"))

    assert damaged.state == "failed"
    assert "state.json is not the state of a run" in damaged.reason
    assert "Remove it" in damaged.reason
    assert other.state == "planned"


def test_a_state_that_cannot_be_read_is_told(root, monkeypatch):
    """The other runs are shown; while that may pass, the run is expected to go on."""
    failing_with(monkeypatch, root / "one" / "runs" / "a" / "state.json", errno.EIO, forever=True)
    monkeypatch.setattr("launcher.os_errors.PATIENCE_S", 0.1)

    unreadable, other = read_statuses(find_runs(root / "one"))

    assert (unreadable.state, unreadable.is_expected) == ("unreadable", True)
    assert "state.json: Input/output error: it may pass: try again" in unreadable.reason
    assert unreadable.doubt == unreadable.reason
    assert is_under_way(unreadable)
    assert other.state == "planned"


@pytest.mark.parametrize("name", ["runs/a/state.json", "runs/a/lease.json", "jobs/p/job.json"])
@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO])
def test_what_fails_for_a_moment_is_read_again(root, slurm, monkeypatch, name, number):
    """NFS says so when another machine replaces a file at that moment."""
    experiment = ExperimentFolder(root / "one")
    submitted(experiment, "p", "a")
    slurm.queue(("12_3", "RUNNING"))
    failing_with(monkeypatch, experiment.path / name, number)

    status = status_of(experiment.run("a"))

    assert (status.state, status.reason) == ("submitted", "its job 12_3 is running")


def test_the_files_of_a_job_that_cannot_be_read(root, slurm, monkeypatch):
    """Its runs may go on for all that is known; no other run is hidden by it."""
    experiment = ExperimentFolder(root / "one")
    pack = submitted(experiment, "pack-0001", "a")
    failing_with(monkeypatch, pack.job, errno.EACCES, forever=True)

    first, second = read_statuses(find_runs(experiment.path))

    assert (first.state, first.is_expected) == ("submitted", True)
    assert first.doubt is not None and first.doubt.startswith("its job is not known: ")
    assert second.state == "planned"


def test_a_damaged_manifest_of_a_pack(root):
    """A file of a full disk may hold anything; the other runs are shown as ever."""
    pack = ExperimentFolder(root / "one").pack("pack-0000")
    pack.path.mkdir(parents=True)
    pack.manifest.write_text("{}")
    write_state(ExperimentFolder(root / "one").run("a"), RunState(status="running", pack=pack.name))

    status = status_of(ExperimentFolder(root / "one").run("a"))

    assert (status.state, status.is_expected) == ("waiting", False)
    assert f"the records in {pack.path} are damaged ('machine' is missing)" in status.reason


@pytest.mark.parametrize("content", ["", "{", "[]", '{"job": 3}'])
def test_a_damaged_record_of_a_job(root, slurm, content):
    """It is named, and the run can be submitted again."""
    experiment = ExperimentFolder(root / "one")
    pack = submitted(experiment, "pack-0001", "a")
    pack.job.write_text(content)

    status = status_of(experiment.run("a"))

    assert (status.state, status.is_expected) == ("waiting", False)
    assert status.reason.startswith(f"the records in {pack.path} are damaged (")


def failing_with(monkeypatch, path, number, *, forever=False):
    """A file whose next read fails, or each."""
    left = [path]
    open_file = io.open

    def open_or_fail(file, *arguments, **options):
        if file == path and left:
            if not forever:
                left.clear()
            raise OSError(number, os.strerror(number), str(path))
        return open_file(file, *arguments, **options)

    monkeypatch.setattr(io, "open", open_or_fail)
