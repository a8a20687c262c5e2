"""The files of a pack, as earlier and later versions write them."""

import json

import attrs
import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.machine import Machine
from launcher.job.pack import SubmittedJob, read_job, read_pack, write_job, write_pack
from tests.fakes.fake_slurm import submitted


@pytest.fixture
def pack(tmp_path):
    """A pack of one run, submitted to Slurm."""
    return submitted(ExperimentFolder(tmp_path / "one"), "pack-0000", "a")


def keys_after_a_resubmission(pack):
    """What the code that the job runs would have to know."""
    write_job(pack, SubmittedJob(job_id="13", submitted=1.0, resubmissions=1, replaces="12_3"))
    return json.loads(pack.job.read_bytes()).keys()


def test_the_job_of_an_old_pack_is_written_as_its_code_reads_it(pack):
    """It refuses keys that it does not know, and has not recorded who submitted."""
    record = json.loads(pack.manifest.read_bytes())
    del record["user"], record["uid"]
    pack.manifest.write_text(json.dumps(record))

    assert keys_after_a_resubmission(pack) == {"job_id", "submitted", "resubmissions", "replaces"}
    job = read_job(pack)
    assert (job.job_id, job.user, job.uid) == ("13", "", None)


def test_the_job_of_a_new_pack_says_who_submitted_it(pack):
    """Its code reads it."""
    assert keys_after_a_resubmission(pack) >= {"user", "uid"}


def test_keys_of_a_later_version_are_ignored(pack):
    """In `job.json` and anywhere in `pack.json`: a job keeps the code that it began with."""
    machine = Machine(gpus=(), cores=(0, 1), memory_gb=4.0)
    write_pack(pack, attrs.evolve(read_pack(pack), machine=machine))
    job, manifest = read_job(pack), read_pack(pack)
    later = json.loads(pack.manifest.read_bytes())
    (member,) = later["members"]
    for part in (later, member, member["retries"], later["slurm"], later["machine"]):
        part["new"] = 1
    pack.manifest.write_text(json.dumps(later))
    pack.job.write_text(json.dumps({**json.loads(pack.job.read_bytes()), "new": 1}))

    assert (read_job(pack), read_pack(pack)) == (job, manifest)
