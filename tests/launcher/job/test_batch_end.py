"""When a job that never comes up is given up."""

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.batch_end import _is_superseded, count_failed_starts
from launcher.job.node import ThisNode
from launcher.job.pack import PackEventKind, SubmittedJob, append_pack_event, read_pack_events


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], 0),
        ([1, 1, 1], 3),
        (["began", 1, 1], 2),
        ([1, "started", 137], 2),
        ([1, "started", "began", "started", 1], 1),
        ([1, 143, 140, 1], 2),
        ([143, 143, 143, 143, 143, 143, 143], 0),
    ],
)
def test_steps_that_nobody_has_told_to_stop(tmp_path, statuses, expected):
    """They count since a member began last; those that Slurm has stopped do not."""
    pack = ExperimentFolder(tmp_path).pack("pack-0000")
    pack.path.mkdir(parents=True)
    for status in statuses:
        if status in ("started", "began"):
            append_pack_event(pack, PackEventKind(status))
        else:
            append_pack_event(pack, PackEventKind.STEP_ENDED, status=status)

    assert count_failed_starts(list(read_pack_events(pack))) == expected


@pytest.mark.parametrize(
    ("job_id", "replaces", "is_superseded"),
    [("13", "12", True), ("", "12", False), ("12", "", False)],
)
def test_a_submission_that_was_killed_is_made_again(tmp_path, job_id, replaces, is_superseded):
    """Only once the new job has an id has the pack moved on."""
    pack = ExperimentFolder(tmp_path).pack("pack-0000")
    pack.path.mkdir(parents=True)
    submitted = SubmittedJob(job_id=job_id, submitted=0.0, replaces=replaces)

    assert _is_superseded(pack, submitted, ThisNode(name="n1", job="12")) == is_superseded
