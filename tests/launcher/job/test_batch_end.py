"""When a job that never comes up is given up."""

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.batch_end import count_failed_starts
from launcher.job.pack import PackEventKind, append_pack_event, read_pack_events


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
