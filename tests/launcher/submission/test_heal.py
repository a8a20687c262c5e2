"""Packs whose jobs are gone, and what is submitted again."""

import json
import os
import shlex
from collections.abc import Callable
from threading import Thread
from types import SimpleNamespace

import attrs
import pytest

from launcher import exit_codes, file_lock
from launcher.errors import SubmissionError
from launcher.experiment.experiment_folder import PackFolder
from launcher.job import resubmit
from launcher.job.pack import SubmittedJob, read_job, read_pack_events, write_job
from launcher.slurm.array_files import ArrayFiles
from launcher.submission.heal import heal_runs, reason_to_leave
from tests.fakes.fake_slurm import submitted
from trainers.run.run_state import read_state, write_state


@pytest.fixture
def submissions(monkeypatch):
    """The packs that are submitted again, as job 13, 14, …"""
    found = []

    def submit(folder, packs, parameters, entry_point):
        found.extend(packs)
        return [str(12 + len(found))]

    monkeypatch.setattr(resubmit, "submit_array", submit)
    return found


@pytest.fixture
def pack(workplace, slurm):
    """Two runs that wait, and whose job 12_3 is gone."""
    workplace.experiment.path.mkdir(parents=True)
    slurm.queue()
    slurm.ended(_12_3="FAILED")
    reason = "its job could not be requeued: refused; submit again to resume"
    return submitted(workplace.experiment, "pack-0000", "a", "b", status="waiting", reason=reason)


def heal(workplace):
    return heal_runs([workplace.run("a"), workplace.run("b")])


def controller_says(slurm, state=None):
    """What `scontrol show job` prints; without a state, the controller has forgotten the job."""
    forgotten = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
    known = f"echo 'JobId=15 ArrayJobId=12 ArrayTaskId=3 JobState={state} Reason=None'"
    program = slurm.folder / "bin" / "scontrol"
    program.write_text(f"#!/bin/sh\n{known if state else forgotten}\n")
    program.chmod(0o755)


def has_no_accounting(slurm):
    """As sacct says it."""
    said = "Slurm accounting storage is disabled"
    (slurm.folder / "sacct.sh").write_text(f"echo '{said}' >&2; exit 1\n")


def is_found_by_its_script(slurm, experiment, job_id, pack):
    """Slurm has had a job for a pack, and nobody has recorded it."""
    experiment.submitit.mkdir()
    files = ArrayFiles(folder=experiment.submitit, key="abc")
    files.packs.write_text(f"{pack.name}\n")
    row = f'printf "%s %s\\n" {job_id} {shlex.quote(str(files.script))}'
    (slurm.folder / "squeue.sh").write_text(f'case "$*" in *%i*) {row} ;; esac\n')


def test_a_pack_whose_job_is_gone_is_submitted_again(workplace, slurm, pack, submissions):
    """As it was, once, with what was tried so far."""
    (healing,) = heal(workplace)

    assert submissions == [pack]
    assert (healing.runs, healing.job_id) == (("a", "b"), "13")
    assert healing.outcome == "submitted again as job 13, for 12_3"
    job = read_job(pack)
    assert (job.job_id, job.replaces, job.resubmissions) == ("13", "12_3", 1)
    assert [each["event"] for each in read_pack_events(pack)] == ["resubmitted"]
    slurm.queue(("13", "PENDING", "Priority"))
    assert "submit again" not in workplace.status("a").reason
    assert heal(workplace) == []


@pytest.mark.parametrize("state", ["PREEMPTED", "TIMEOUT", "NODE_FAIL", "COMPLETED", "BOOT_FAIL"])
def test_however_its_job_ended(workplace, slurm, pack, submissions, state):
    """If nobody has cancelled it."""
    slurm.ended(_12_3=state)

    (healing,) = heal(workplace)

    assert healing.job_id == "13"


def test_a_run_that_died_with_its_supervisor_goes_on(workplace, pack, submissions):
    """Its attempt is counted by the new job."""
    run = workplace.run("a")
    write_state(run, attrs.evolve(read_state(run), status="running"))

    (healing,) = heal(workplace)

    assert healing.job_id == "13"
    assert read_state(run).status == "running"


def test_a_cancelled_job_stays_cancelled(workplace, slurm, pack, submissions):
    """Accounting says so, or what its supervisor was told before it was killed."""
    slurm.ended(**{"_12_3": "CANCELLED by 1000"})

    (healing,) = heal(workplace)

    assert not submissions
    assert healing.outcome.startswith("left alone: its job was cancelled")
    assert not healing.failed


def test_while_accounting_is_silent_nothing_is_submitted(workplace, slurm, pack, submissions):
    """The job may have been cancelled while it was away; that is a failure, to be tried again."""
    slurm.is_silent("sacct")

    (healing,) = heal(workplace)

    assert not submissions
    assert healing.failed
    assert healing.outcome.startswith("not submitted again: `sacct ")
    assert read_job(pack).job_id == "12_3"


def test_without_accounting_the_controller_is_asked(workplace, slurm, pack, submissions):
    """A pending job that was cancelled has left no event."""
    has_no_accounting(slurm)
    controller_says(slurm, "CANCELLED")
    (healing,) = heal(workplace)
    assert healing.outcome.startswith("left alone: its job was cancelled")

    controller_says(slurm, "NODE_FAIL")
    (healing,) = heal(workplace)
    assert healing.job_id == "13"


def test_an_end_that_nobody_knows_may_be_a_cancellation(workplace, slurm, pack, submissions):
    """The controller forgets a job after some minutes."""
    has_no_accounting(slurm)
    controller_says(slurm)

    (healing,) = heal(workplace)

    assert not submissions
    assert not healing.failed
    assert healing.outcome.startswith("left alone: its job may have been cancelled")
    assert "`launch submit`" in healing.outcome


@pytest.mark.parametrize("record", [{}, {"_12_3": "PENDING"}])
def test_a_record_from_before_the_end_tells_nothing(workplace, slurm, pack, submissions, record):
    """Accounting was away when the job was cancelled."""
    slurm.ended(**record)
    controller_says(slurm, "CANCELLED")

    (healing,) = heal(workplace)

    assert not submissions
    assert healing.outcome.startswith("left alone: its job was cancelled")


@pytest.mark.parametrize("replaced", ["", "9"])
@pytest.mark.parametrize("state", ["CANCELLED", "NODE_FAIL"])
def test_the_end_of_a_job_that_nobody_has_recorded(
    workplace, slurm, pack, submissions, state, replaced
):
    """Counts as well: its submission was cut short, and then it was cancelled, or not."""
    write_job(pack, SubmittedJob(job_id="", submitted=0.0, replaces=replaced))
    slurm.ended(_12=state)
    is_found_by_its_script(slurm, workplace.experiment, "12", pack)

    (healing,) = heal(workplace)

    if state == "CANCELLED":
        assert healing.outcome.startswith("left alone: its job was cancelled")
        assert not submissions
    else:
        assert (healing.job_id, read_job(pack).replaces) == ("13", "12")


@pytest.mark.parametrize(
    ("events", "is_left"),
    [
        ([{"event": "started"}, {"event": "stopping", "cause": "cancelled"}], True),
        ([{"event": "stopping", "cause": "cancelled"}, {"event": "started"}], False),
        ([{"event": "started"}, {"event": "stopping", "cause": "preempted"}], False),
        ([], False),
    ],
)
def test_what_the_supervisor_was_told_last(events, is_left):
    """Counts whatever Slurm says."""
    assert bool(reason_to_leave(owner=os.getuid(), end="FAILED", events=events)) == is_left


def test_a_colleagues_pack_is_left_alone():
    """A job would run in the wrong name."""
    reason = reason_to_leave(owner=os.getuid() + 1, end="FAILED", events=[])

    assert "was submitted by user" in reason


def test_the_owner_on_record_counts(workplace, pack, submissions):
    """A file may have been written anew, or copied, by somebody else."""
    write_job(pack, attrs.evolve(read_job(pack), user="them", uid=54321))

    heal(workplace)

    assert not submissions


@pytest.fixture
def second(workplace, slurm, pack):
    """Another pack whose job is gone, of the run c."""
    slurm.ended(_12_3="FAILED", _12_4="FAILED")
    return submitted(workplace.experiment, "pack-0001", "c", job_id="12_4", status="waiting")


@pytest.fixture
def meanwhile(monkeypatch):
    """What others do while the first pack is submitted, as job 13."""
    acts: list[Callable[[], object]] = []
    found: list[PackFolder] = []

    def submit(folder, packs, parameters, entry_point):
        found.extend(packs)
        while acts:
            acts.pop()()
        return [str(12 + len(found))]

    monkeypatch.setattr(resubmit, "submit_array", submit)
    return acts, found


def test_a_submission_comes_in_between(workplace, second, meanwhile):
    """It waits for one pack, not for thousands."""
    acts, found = meanwhile
    order = []

    def submission():
        with file_lock.hold(workplace.experiment.lock, timeout_s=20):
            order.append(len(found))

    waiting = Thread(target=submission)
    acts.append(waiting.start)

    healed = heal_runs([workplace.run(name) for name in "abc"])

    waiting.join()
    assert [healing.job_id for healing in healed] == ["13", "14"]
    assert order == [1]


def test_what_others_have_submitted_in_between_is_left_alone(workplace, second, meanwhile):
    """A pack has one job."""
    acts, found = meanwhile
    acts.append(lambda: write_job(second, SubmittedJob(job_id="99", submitted=0.0)))

    _, healing = heal_runs([workplace.run(name) for name in "abc"])

    assert found == [workplace.experiment.pack("pack-0000")]
    assert healing.outcome == "left alone: it has the job 99 by now"
    assert read_job(second).job_id == "99"


def test_runs_that_others_have_taken_in_between_are_left_alone(workplace, second, meanwhile):
    """They belong to a new pack."""
    acts, _ = meanwhile
    run = workplace.run("c")
    acts.append(lambda: write_state(run, attrs.evolve(read_state(run), pack="pack-0002")))

    healed = heal_runs([workplace.run(name) for name in "abc"])

    assert [healing.pack for healing in healed] == ["pack-0000"]


def test_a_lock_that_stays_taken_ends_it(workplace, second, submissions, monkeypatch):
    """What was submitted before is told all the same."""
    held = []

    def take(_):
        held.append(file_lock.try_take(workplace.experiment.lock))

    monkeypatch.setattr("launcher.submission.heal.time", SimpleNamespace(sleep=take))
    monkeypatch.setattr("launcher.submission.heal._LOCK_TIMEOUT_S", 0)

    first, healing = heal_runs([workplace.run(name) for name in "abc"])

    os.close(held[0])
    assert first.job_id == "13"
    assert healing.failed
    assert "is locked by" in healing.outcome


def test_while_slurm_is_silent_nothing_is_submitted(workplace, slurm, pack, submissions):
    """The job may be in the queue."""
    slurm.is_silent()

    assert heal(workplace) == []


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "SUSPENDED"])
def test_a_job_in_the_queue_is_left_alone(workplace, slurm, pack, submissions, state):
    """It goes on with the runs."""
    slurm.queue(("12_3", state))

    assert heal(workplace) == []
    assert not submissions


def test_a_job_that_slurm_holds_is_replaced(workplace, slurm, pack, submissions):
    """Nobody else would release it."""
    slurm.queue(("12_3", "PENDING", "launch failed requeued held"))

    (healing,) = heal(workplace)

    assert healing.job_id == "13"
    assert slurm.calls("scancel") == ["--quiet --state=PENDING 12_3"]


def test_runs_that_are_over_or_to_be_cancelled_are_left_alone(workplace, pack, submissions):
    """A pack with nothing else left has no use for a job."""
    for name, status in (("a", "finished"), ("b", "waiting")):
        run = workplace.run(name)
        write_state(run, attrs.evolve(read_state(run), status=status))
    workplace.run("b").cancel_request.touch()

    assert heal(workplace) == []
    assert not submissions


def test_a_pack_without_a_job_is_submitted(workplace, slurm, submissions):
    """Its submission was interrupted."""
    workplace.experiment.path.mkdir(parents=True)
    slurm.queue()
    pack = submitted(workplace.experiment, "pack-0000", "a", "b", job_id=None)

    (healing,) = heal(workplace)

    assert (healing.job_id, read_job(pack).job_id) == ("13", "13")


def test_a_refusal_is_told_and_changes_nothing(workplace, pack, monkeypatch):
    """Exit code 5, as of a submission."""

    def refuse(*_):
        raise SubmissionError("Slurm refused the jobs: Access denied")

    monkeypatch.setattr(resubmit, "submit_array", refuse)

    assert workplace.launch("status", "--heal") == exit_codes.REFUSED

    assert "not submitted again: Slurm refused the jobs: Access denied" in workplace.out
    assert read_job(pack).job_id == "12_3"


def test_the_command_says_what_it_did(workplace, slurm, pack, submissions):
    """And that there is nothing more to do."""
    assert workplace.launch("status", "--heal") == exit_codes.OK
    assert "submitted again as job 13, for 12_3" in workplace.out

    slurm.queue(("13", "PENDING"))
    assert workplace.launch("status", "dummies", "--heal", "--json") == exit_codes.NOTHING_TO_DO
    assert json.loads(workplace.out) == []


def test_the_advice_names_the_command(workplace, pack):
    """`launch explain` does, of a run that waits for nothing."""
    workplace.launch("explain", "a")

    assert f"launch status --heal {workplace.run('a').path}" in workplace.out


@pytest.mark.parametrize("option", ["--watch", "--usage", "--sort=run", "--limit=3"])
def test_it_takes_no_options_of_the_table(workplace, pack, option, capsys):
    """Nothing is submitted."""
    with pytest.raises(SystemExit) as caught:
        workplace.launch("status", "--heal", option)

    assert caught.value.code == exit_codes.UNUSABLE
    assert f"leave out {option.partition('=')[0]}" in capsys.readouterr().err
