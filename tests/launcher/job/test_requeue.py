"""Requeues that Slurm refuses, does not answer, or has made already."""

import errno
import shlex

import attrs
import pytest

from launcher.errors import SlurmError, SubmissionError, UnknownSubmissionError
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job import requeue, resubmit
from launcher.job.bookkeeping import PackRecords
from launcher.job.node import ThisNode
from launcher.job.own_job import own_details
from launcher.job.pack import Member, SubmittedJob, read_job, read_pack_events, write_job
from launcher.job.requeue import JobRequeue
from launcher.slurm.array_files import ArrayFiles
from tests.launcher.job.test_node_supervisor import TERMS
from trainers.run.run_state import RunState, read_state, write_state

AWAY = "echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1"
REFUSES = "echo 'Requested operation is presently disabled for job 12' >&2; exit 1"
KILLED = "kill -TERM $$"
SHOW = "echo JobId=12 JobState={state} Restarts={restarts} StartTime=Unknown EndTime=Unknown"
RUNNING = SHOW.format(state="RUNNING", restarts=0)
REQUEUED = SHOW.format(state="COMPLETING", restarts=1)
CANCELLED = SHOW.format(state="CANCELLED", restarts=0)
ENDING = (
    "echo JobId=12 JobState=COMPLETING Restarts=0 PreemptTime={preempted} "
    "StartTime=2026-01-01T10:00:00 EndTime=2026-01-01T10:10:00"
)
PREEMPTED = ENDING.format(preempted="2026-01-01T10:10:00")
KILLED_IN_ITS_GRACE = ENDING.format(preempted="2026-01-01T10:09:55")
RECORD = "12|{state}|0:0|2026-01-01T10:00:00|2026-01-01T10:10:00|n1"


class Job:
    """A job whose `scontrol` does one thing after the other, the last one from then on."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.pack = ExperimentFolder(folder).pack("pack-0000")
        self.pack.path.mkdir(parents=True)
        self.run = self.pack.experiment.run("a")
        self.run.path.mkdir(parents=True)
        write_state(self.run, RunState(status="waiting", pack="pack-0000"))
        write_job(self.pack, SubmittedJob(job_id="12", submitted=0.0))
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setattr("trainers.run.backoff.FIRST_DELAY_S", 0.01)

    def scontrol(self, *, show, requeue=("exit 0",)):
        lines = ["#!/bin/bash", f"cd {shlex.quote(str(self.folder))}", 'echo "$@" >>calls']
        for word, answers in (("show", show), ("requeue", requeue)):
            lines.append(f'if [ "$1" = {word} ]; then n=$(grep -c ^{word} calls)')
            lines += [f"[ $n -gt {i} ] || {{ {each}; exit; }}" for i, each in enumerate(answers, 1)]
            lines += [answers[-1], "exit; fi"]
        (self.folder / "scontrol").write_text("\n".join([*lines, ""]))
        (self.folder / "scontrol").chmod(0o755)

    def sacct(self, state):
        (self.folder / "sacct").write_text(f"#!/bin/bash\necho '{RECORD.format(state=state)}'\n")
        (self.folder / "sacct").chmod(0o755)

    def requeue(self, terms=TERMS, *, early=False, **options):
        records = PackRecords(self.pack)
        node = ThisNode(name="n1", job="12")
        members = [Member(name="a", gpus=1, cpus=1)]
        self.last = JobRequeue(self.pack, records, terms, node, print)
        if early:
            self.last.requeue_early(own_details(node, terms))
        is_back = not early and self.last.requeue(members, **options)
        if self.last.problem:
            self.last.give_up(members)
        records.close(10)
        return is_back

    def calls(self, word):
        lines = (self.folder / "calls").read_text().splitlines()
        return sum(line.startswith(word) for line in lines)

    def events(self):
        return [event["event"] for event in read_pack_events(self.pack)]


@pytest.fixture
def job(tmp_path, monkeypatch):
    return Job(tmp_path, monkeypatch)


@pytest.fixture
def submissions(monkeypatch):
    """The packs that are submitted anew and their options, each as job 13."""
    submitted = Submissions()
    monkeypatch.setattr(resubmit, "submit_array", submitted)
    return submitted


class Submissions(list):
    """Stands in for `submit_array`; fails with each of the errors first."""

    errors = ()

    def __call__(self, folder, packs, parameters, entry_point):
        if self.errors:
            raise self.errors.pop()
        self.append((packs, parameters["additional_parameters"]))
        return ["13"]


def test_a_controller_that_is_away_is_asked_again(job, submissions):
    """Until it answers; no second job takes the place of this one."""
    job.scontrol(show=[AWAY, AWAY, RUNNING, AWAY, RUNNING], requeue=[AWAY, AWAY, "exit 0"])

    assert job.requeue()

    assert job.calls("requeue") == 3
    assert not submissions


def test_a_controller_that_stays_away_is_given_up(job, submissions, monkeypatch):
    """The runs wait for a person, and say why."""
    monkeypatch.setattr(requeue, "PATIENCE_S", 0.05)
    job.scontrol(show=[AWAY])

    assert not job.requeue()

    assert "Unable to contact slurm controller" in read_state(job.run).reason
    assert read_state(job.run).status == "waiting"
    assert not submissions


def test_a_requeue_that_kills_its_own_command_has_succeeded(job, submissions):
    """The signal that follows it may end `scontrol` first: the job counts as restarted."""
    job.scontrol(show=[RUNNING, REQUEUED], requeue=[KILLED])

    assert job.requeue()

    assert not submissions


def test_a_requeue_may_be_asked_for_twice(job):
    """As by the batch script, after a supervisor that was killed in the middle."""
    job.scontrol(show=[REQUEUED])

    assert job.requeue()

    assert job.calls("requeue") == 0


def test_a_refused_requeue_becomes_a_new_job(job, submissions):
    """Which has the pack from then on."""
    job.scontrol(show=[RUNNING], requeue=[REFUSES])

    assert job.requeue()

    assert submissions == [([job.pack], {})]
    assert (read_job(job.pack).job_id, read_job(job.pack).replaces) == ("13", "12")
    assert job.events() == ["requeueing", "resubmitted"]


def test_a_job_on_a_bad_node_is_requeued_where_jobs_may_submit_none(job, monkeypatch):
    """Many sites have no sbatch on their compute nodes; the job has its pack as before."""

    def refuse(*_):
        raise SubmissionError("Slurm refused the jobs: Access denied")

    monkeypatch.setattr(resubmit, "submit_array", refuse)
    job.scontrol(show=[RUNNING])

    assert job.requeue(as_new_job=True)

    assert job.calls("requeue") == 1
    assert (read_job(job.pack).job_id, read_job(job.pack).replaces) == ("12", "")


def test_a_new_job_is_submitted_once(job, submissions):
    """A second call finds that the pack has moved on."""
    job.scontrol(show=[RUNNING], requeue=[REFUSES])

    assert job.requeue() and job.requeue()

    assert len(submissions) == 1


def test_a_cancelled_job_stays_cancelled(job, submissions):
    """A requeue would undo that."""
    job.scontrol(show=[CANCELLED])

    assert not job.requeue()

    assert read_state(job.run).status == "cancelled"
    assert job.calls("requeue") == 0
    assert not job.last.problem


def test_a_cancelled_job_is_not_started_again(job):
    """Slurm 24.05 and later would, if it was ever preempted."""
    job.scontrol(show=[CANCELLED])

    job.requeue()

    assert job.calls("update JobId=12 Requeue=0") == 1


def test_a_replaced_job_is_not_started_again(job, submissions):
    """Nor is one whose pack another job has now."""
    job.scontrol(show=[RUNNING], requeue=[REFUSES])

    job.requeue()

    assert job.calls("update JobId=12 Requeue=0") == 1


def test_a_preempted_job_that_slurm_kills_is_requeued_before_its_members_end(job, submissions):
    """And the second call, after they have, finds that this was done."""
    job.scontrol(show=[PREEMPTED, REQUEUED])
    job.sacct("PREEMPTED")

    job.requeue(early=True)
    assert job.requeue()

    assert job.calls("requeue") == 1
    assert not submissions


def test_a_new_job_starts_after_the_one_that_is_being_killed(job, submissions):
    """Its members may still be saving."""
    job.scontrol(show=[PREEMPTED], requeue=[REFUSES])
    job.sacct("PREEMPTED")

    job.requeue(early=True)
    assert job.requeue()

    assert submissions == [([job.pack], {"dependency": "afterany:12"})]


@pytest.mark.parametrize(
    ("state", "status"), [("PREEMPTED", "waiting"), ("CANCELLED by 1000", "cancelled")]
)
def test_the_records_tell_a_preemption_from_a_cancellation(job, submissions, state, status):
    """The controller calls both COMPLETING, and both came after the preemption had begun."""
    job.scontrol(show=[KILLED_IN_ITS_GRACE])
    job.sacct(state)

    assert job.requeue() == (status == "waiting")

    assert read_state(job.run).status == status


def test_what_was_for_the_first_job_is_not_asked_of_the_next(job, submissions):
    """A job that it waited for may be forgotten by now, and nobody would release it."""
    options = {"hold": True, "begin": "now+1day", "dependency": "afterok:3", "comment": "x"}
    terms = attrs.evolve(TERMS, parameters={"additional_parameters": options})
    job.scontrol(show=[RUNNING], requeue=[REFUSES])

    assert job.requeue(terms)

    assert submissions == [([job.pack], {"comment": "x"})]


@pytest.mark.parametrize(
    "error",
    [
        SubmissionError("Slurm refused the jobs: Job violates accounting/QOS policy"),
        SlurmError("sbatch", "Socket timed out on send/recv operation"),
    ],
    ids=["limit", "away"],
)
def test_a_new_job_that_is_refused_for_a_moment_is_submitted_again(job, submissions, error):
    """A limit on jobs may give way, and a controller come back."""
    submissions.errors = [error, error]
    job.scontrol(show=[RUNNING], requeue=[REFUSES])

    assert job.requeue()

    assert len(submissions) == 1
    assert read_job(job.pack).job_id == "13"


def test_a_disk_without_room_for_a_new_job_is_waited_for(job, submissions, monkeypatch):
    """For longer than a refusal."""
    monkeypatch.setattr(requeue, "REFUSAL_PATIENCE_S", 0.0)
    error = SubmissionError("the jobs were not submitted")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    submissions.errors = [error, error]
    job.scontrol(show=[RUNNING], requeue=[REFUSES])

    assert job.requeue()

    assert len(submissions) == 1


def test_a_refusal_that_stays_is_left_to_the_batch_script(job, submissions, monkeypatch):
    """It asks once more; then the runs wait for a person, and say why."""
    monkeypatch.setattr(requeue, "REFUSAL_PATIENCE_S", 0.0)
    submissions.errors = [SubmissionError("Slurm refused the jobs: Access denied")] * 2
    job.scontrol(show=[RUNNING], requeue=[REFUSES])

    assert not job.requeue()

    assert "Access denied; submit again to resume" in read_state(job.run).reason
    assert read_job(job.pack).job_id == "12"


def submitted_unseen(job, *job_ids):
    """An earlier call has left no id; squeue shows that its script made these jobs."""
    write_job(job.pack, SubmittedJob(job_id="", submitted=0.0, replaces="12"))
    files = ArrayFiles(folder=job.pack.experiment.submitit, key="abc")
    files.folder.mkdir()
    files.packs.write_text("pack-0000\n")
    lines = [f"printf '%-64s%s\\n' {each} {shlex.quote(str(files.script))}" for each in job_ids]
    (job.folder / "squeue").write_text("\n".join(["#!/bin/bash", *lines, ""]))
    (job.folder / "squeue").chmod(0o755)


@pytest.mark.parametrize(("jobs", "is_found"), [(["13", "12"], True), (["12"], False), ([], False)])
def test_a_new_job_that_nobody_has_recorded_is_found(job, submissions, jobs, is_found):
    """Slurm had taken it when the call was cut short; a third one would be one too many."""
    submitted_unseen(job, *jobs)
    job.scontrol(show=[RUNNING], requeue=[REFUSES])

    assert job.requeue()

    assert len(submissions) == (not is_found)
    assert (read_job(job.pack).job_id, read_job(job.pack).replaces) == ("13", "12")


@pytest.mark.parametrize(
    "shows",
    [
        SHOW.format(state="FAILED", restarts=0),
        SHOW.format(state="COMPLETING", restarts=0),
        "echo Invalid job id specified >&2; exit 1",
    ],
    ids=["failed", "ends", "forgotten"],
)
def test_a_new_job_that_is_over_already_does_not_have_the_pack(job, submissions, shows):
    """It never came up: another one takes its place."""
    submitted_unseen(job, "14", "12")
    job.scontrol(show=[RUNNING, shows])

    assert job.requeue(attrs.evolve(TERMS, may_requeue=False))

    assert len(submissions) == 1
    assert read_job(job.pack).job_id == "13"


def test_a_new_job_of_which_nothing_is_known_is_looked_for(job, submissions, monkeypatch):
    """The record without an id stays: the job may be there."""
    monkeypatch.setattr(requeue, "REFUSAL_PATIENCE_S", 0.0)
    submissions.errors = [UnknownSubmissionError("jobs may be queued")] * 2
    job.scontrol(show=[RUNNING], requeue=[REFUSES])

    assert not job.requeue()

    assert (read_job(job.pack).job_id, read_job(job.pack).replaces) == ("", "12")
