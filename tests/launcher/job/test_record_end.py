"""Attempts that nobody lived to count."""

import json

import pytest

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.job.pack import Member
from launcher.job.record_end import count_finished
from trainers.run.run_state import RunState, read_state, write_state


@pytest.mark.parametrize(
    ("status", "pack", "attempts"),
    [
        ("finished", "pack-0000", {"preempted": 1, "finished": 1}),
        ("finished", "pack-0001", {"preempted": 1}),
        ("running", "pack-0000", {"preempted": 1}),
    ],
)
def test_a_finished_run_is_counted_once(tmp_path, status, pack, attempts):
    """If it is this pack's, and has a log of an attempt that is not counted yet."""
    experiment = ExperimentFolder(tmp_path)
    run = experiment.run("a")
    run.logs.mkdir(parents=True)
    run.log(1).touch()
    write_state(run, RunState(status=status, pack=pack, attempts={"preempted": 1}))

    for _ in range(2):
        count_finished(experiment.pack("pack-0000"), [Member(name="a", gpus=1, cpus=1)])

    assert (read_state(run).status, read_state(run).attempts) == (status, attempts)
    if "finished" in attempts:
        (event,) = map(json.loads, run.events.read_text().splitlines())
        assert (event["event"], event["attempt"], event["cause"]) == ("ended", 1, "finished")
