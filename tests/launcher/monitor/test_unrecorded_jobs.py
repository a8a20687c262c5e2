"""Jobs that Slurm has, and whose submission was cut short."""

import os
import shlex

import attrs
import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.pack import SubmittedJob, read_pack, write_job, write_pack
from launcher.monitor.status import read_statuses
from launcher.slurm.array_files import ArrayFiles
from tests.fakes.fake_slurm import submitted


@pytest.fixture
def experiment(tmp_path):
    """Two packs of one array, whose jobs nobody has recorded."""
    experiment = ExperimentFolder(tmp_path / "one")
    for number, name in enumerate("ab"):
        submitted(experiment, f"pack-000{number}", name, job_id=None)
    experiment.submitit.mkdir()
    files = ArrayFiles(folder=experiment.submitit, key="abc")
    files.packs.write_text("pack-0000\npack-0001\n")
    return experiment


def takes(slurm, experiment, **jobs):
    """Slurm shows these jobs, and that the script of the experiment made them."""
    slurm.queue(*((job[1:], state) for job, state in jobs.items()))
    script = shlex.quote(str(experiment.submitit / "submission-abc.sh"))
    lines = [f'printf "%s %s\\n" {job[1:]} {script}' for job in jobs]
    queue = shlex.quote(str(slurm.folder / "squeue.txt"))
    commands = "\n".join(lines)
    (slurm.folder / "squeue.sh").write_text(
        f'case "$*" in *%i*)\n{commands} ;;\n*) cat {queue} ;; esac\n'
    )


def test_jobs_in_the_queue_are_found(experiment, slurm):
    """A new submission leaves them alone."""
    takes(slurm, experiment, _12_0="PENDING", _12_1="RUNNING")

    first, second = read_statuses([experiment.run("a"), experiment.run("b")])

    assert (first.job_id, first.job_state, first.is_expected) == ("12_0", "PENDING", True)
    assert (second.job_id, second.job_state, second.is_expected) == ("12_1", "RUNNING", True)
    assert first.reason == "its job 12_0 waits in the queue"


def test_jobs_that_slurm_does_not_have_are_submitted_again(experiment, slurm):
    """What is left in the folder says nothing about a queue."""
    takes(slurm, experiment, _13_0="PENDING")
    (experiment.submitit / "packs-abc.txt").rename(experiment.submitit / "packs-other.txt")

    (status,) = read_statuses([experiment.run("a")])

    assert (status.state, status.is_expected, status.job_id) == ("waiting", False, None)
    assert status.reason == "its submission was interrupted; submit again to resume"


def test_a_submission_that_never_came_to_sbatch_asks_nobody(experiment, slurm):
    """Its packs are in no list."""
    (experiment.submitit / "packs-abc.txt").unlink()

    (status,) = read_statuses([experiment.run("a")])

    assert not status.is_expected
    assert slurm.calls("squeue") == []


def test_while_slurm_is_silent_nothing_is_submitted_again(experiment, slurm):
    """There would be two jobs for one pack."""
    slurm.is_silent()

    (status,) = read_statuses([experiment.run("a")])

    assert status.is_expected
    assert status.doubt.startswith("whether Slurm has taken its job is not known: `squeue ")


def test_a_job_that_takes_the_place_of_another_is_found(experiment, slurm):
    """Its submission was cut short between the record and the id."""
    job = SubmittedJob(job_id="", submitted=0.0, resubmissions=1, replaces="9")
    write_job(experiment.pack("pack-0000"), job)
    takes(slurm, experiment, _12_0="PENDING")

    (status,) = read_statuses([experiment.run("a")])

    assert status.job_id == "12_0"


@pytest.fixture
def shared(experiment, monkeypatch):
    """The second pack is a colleague's; this user is not root, who sees all jobs."""
    monkeypatch.setattr(os, "getuid", lambda: 54320)
    for name, uid in (("pack-0000", 54320), ("pack-0001", 54321)):
        pack = experiment.pack(name)
        write_pack(pack, attrs.evolve(read_pack(pack), user="them", uid=uid))
    return experiment


def test_the_job_of_a_colleague_is_looked_for_in_their_name(shared, slurm):
    """Whoever made the folder."""
    takes(slurm, shared, _12_1="PENDING")
    script = slurm.folder / "squeue.sh"
    script.write_text(f'case "$*" in *--user=54321*)\n{script.read_text()};; esac\n')

    mine, theirs = read_statuses([shared.run("a"), shared.run("b")])

    assert not mine.is_expected
    assert (theirs.job_id, theirs.is_expected) == ("12_1", True)


def test_a_colleagues_job_that_slurm_does_not_show_may_exist(shared, slurm):
    """Sites hide the jobs of others: unknown is never gone."""
    takes(slurm, shared)

    mine, theirs = read_statuses([shared.run("a"), shared.run("b")])

    assert not mine.is_expected
    assert theirs.is_expected
    assert "it is of user 54321" in theirs.doubt


def test_what_a_colleague_never_brought_to_sbatch_has_no_job(shared, slurm):
    """Its pack is in no list."""
    (shared.submitit / "packs-abc.txt").write_text("pack-0000\n")
    takes(slurm, shared)

    (theirs,) = read_statuses([shared.run("b")])

    assert not theirs.is_expected
