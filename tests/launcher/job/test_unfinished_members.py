"""Which members are left when a job ends."""

import threading

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job import unfinished_members
from launcher.job.pack import Member
from launcher.job.unfinished_members import unfinished
from trainers.errors import ConfigError, StateUnavailableError
from trainers.run.run_state import RunState


def test_states_that_are_away_are_waited_for_at_once(tmp_path, monkeypatch):
    """Not one after the other; their runs count as left, and one that is damaged does not."""
    all_are_read = threading.Barrier(3)
    answers = {
        "away": StateUnavailableError("away"),
        "damaged": ConfigError("damaged"),
        "over": RunState(status="finished", pack="pack-0000"),
    }

    def read(run):
        all_are_read.wait(60)
        answer = answers[run.name]
        if isinstance(answer, ConfigError):
            raise answer
        return answer

    monkeypatch.setattr(unfinished_members, "read_state", read)
    members = [Member(name=name, gpus=0, cpus=1) for name in answers]

    left = unfinished(ExperimentFolder(tmp_path).pack("pack-0000"), members)

    assert [member.name for member in left] == ["away"]
