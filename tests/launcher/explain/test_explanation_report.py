"""Explanations as text and as JSON, and the command that prints them."""

import json

import attrs
import pytest

from launcher import cli
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.explain.explanation import explain
from launcher.explain.explanation_report import explanation_json, explanation_text
from launcher.monitor.run_warnings import run_warnings
from tests.fakes.fake_slurm import add_events, job_printed, submitted
from tests.launcher.explain.facts import EVENTS, REMARKS, job, make_facts, waiting_for
from trainers.run.attempt_history import attempt_history
from trainers.run.lease import Lease
from trainers.run.run_state import RunState, write_state


def test_remarks_as_text():
    """Only what there is: a line each, with the newest of many."""
    facts = attrs.evolve(
        make_facts("running"),
        warnings=run_warnings(REMARKS),
        damaged=("damaged-iteration-000000020-0", "damaged-iteration-000000035-0"),
    )

    lines = explanation_text(explain(facts), now=100).splitlines()

    start = lines.index(
        "initialized:   10 of 13 tensors initialized from the averaged weights of "
        "/two/runs/b/checkpoints/iteration-000000100"
    )
    assert lines[start + 1 : start + 3] == [
        "               newly initialized, not in the checkpoint: norm.weight [4]",
        "               newly initialized, of another shape there: head.weight [3, 4], "
        "there [1, 4], "
        "head.bias [3], there [1]",
    ]
    assert lines[start + 3].startswith("reproducible:  no: the number of ranks is 2, and was 4 (19")
    assert lines[start + 4].startswith("               deterministic is false (19")
    assert lines[start + 4].endswith(", and once before)")
    assert lines[start + 5 : start + 10] == [
        "not saved:     2 times, the newest at iteration 30: read-only",
        "skipped:       once, at iteration 20: an earlier one was still being written",
        "saved:         nothing yet",
        "damaged:       damaged-iteration-000000020-0",
        "               damaged-iteration-000000035-0: rank-00000.safetensors has 5 bytes; 9 were "
        "written",
    ]


def test_an_explanation_as_text():
    """Why, and what to do, come first."""
    attempts = tuple(attempt_history(EVENTS[:9]))
    facts = attrs.evolve(
        waiting_for("Priority"),
        attempts=attempts,
        checkpoints=tuple(f"iteration-{number:09}" for number in (10, 20, 30, 40)),
        damaged=("damaged-iteration-000000035-0",),
        job_events=({"time": 5, "event": "started", "node": "n1", "start": 0},),
        queued=job("PENDING", "Priority"),
    )

    lines = explanation_text(explain(facts), now=100).splitlines()

    lines = [line for line in lines if line]
    assert lines[:4] == [
        "one/a: waiting, iteration 40 of 100",
        "why:           preempted (SIGTERM); its job 12_3 waits in the queue: Priority (jobs of a "
        "higher priority are ahead of it)",
        "to do:         wait; a job that asks for less, or for a shorter --time, may start earlier",
        "job:           12_3 PENDING",
    ]
    assert " ".join(lines[4].split()) == "ATTEMPT BEGAN TOOK ITERATIONS LOST NODE GPUS ENDED BY"
    assert lines[5].endswith("00:00:20  0 + 30            n1    GPU-a GPU-b  crashed: exit code 1")
    assert lines[6].endswith("00:00:09  30 + 10     5     n2                 preempted (SIGTERM)")
    assert lines[7] == "started again: not yet"
    assert lines[8] == (
        "saved:         iteration-000000020, iteration-000000030, iteration-000000040, and 1 "
        "before; 5 iterations lost at stops"
    )
    assert lines[9] == "damaged:       damaged-iteration-000000035-0"
    assert lines[10].endswith("  started  node n1, start 0")
    assert lines[11] == "log:           /one/runs/a/logs/attempt-001.rank-0.log"
    assert len(lines) == 12


def test_an_explanation_as_json():
    """All of it, with what the status has at the top."""
    facts = attrs.evolve(waiting_for("Priority"), attempts=tuple(attempt_history(EVENTS[:9])))

    data = json.loads(json.dumps(explanation_json(explain(facts))))

    assert (data["name"], data["state"], data["job_id"]) == ("a", "waiting", "12_3")
    assert data["place"]["pending"]["ends_by_itself"] is True
    assert data["place"]["start_estimate"] == 1e9
    assert [(each["gained"], each["lost"]) for each in data["attempts"]] == [(30, 0), (10, 5)]
    assert data["budgets"][0] == {"cause": "preempted", "used": 0, "allowed": None}
    assert data["lost_iterations"] == 5


def test_a_run_folder_is_explained(tmp_path, slurm, capsys):
    """From its own files, those of its pack, and the queue; a config is not needed."""
    experiment = ExperimentFolder(tmp_path / "one")
    pack = submitted(experiment, "pack-0001", "a", status="waiting", reason="preempted (SIGTERM)")
    run = experiment.run("a")
    add_events(run.events, *EVENTS[:9], *REMARKS)
    add_events(pack.events, {"time": 5, "event": "stopping", "cause": "preempted"})
    for name in ("iteration-000000040", "damaged-iteration-000000050-0", ".tmp-7"):
        (run.checkpoints / name).mkdir(parents=True)
    slurm.queue(("12_3", "PENDING", "Resources"))

    with Lease.take(run.lease, owner="x", attempt=0):
        pass
    assert cli.main(["explain", str(run.path)]) == 0
    text = capsys.readouterr().out
    assert cli.main(["explain", str(run.path), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)

    assert "it is next in line, and nodes are not free yet" in text
    assert "stopping  cause preempted" in text
    assert data["checkpoints"] == ["iteration-000000040"]
    assert data["damaged"] == ["damaged-iteration-000000050-0"]
    assert data["place"]["pending"]["word"] == "Resources"
    assert data["holder"] is None
    assert data["remarks"]["doubts"][0]["reason"] == "the number of ranks is 2, and was 4"
    assert data["remarks"]["first_weights"]["mismatched"][1] == "head.bias [3], there [1]"
    assert len(slurm.calls("squeue")) == 1


def test_a_job_that_died_before_it_began_is_explained(tmp_path, slurm, capsys):
    """Its last words, what they mean and what to do; how it ended, from accounting."""
    experiment = ExperimentFolder(tmp_path / "one")
    path = job_printed(submitted(experiment, "pack-0001", "a"), "loading", "/opt/python: not found")
    add_events(experiment.run("a").events, *EVENTS[:9], {"time": 99, "event": "submitted"})
    slurm.ended("127:0", _12_3="FAILED")

    assert cli.main(["explain", str(experiment.run("a").path)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == (
        "why:           its job 12_3 ended before it began (FAILED, exit code 127): see `launch "
        "logs`; submit again to resume; there is no /opt/python on its node"
    )
    assert lines[2].startswith("to do:         submit from an environment on a file system that")
    assert lines[3].startswith("to do:         resume it: launch resubmit ")
    assert lines[-3:] == [f"job log:       {path}", "    loading", "    /opt/python: not found"]


def test_what_cannot_be_read_is_named(tmp_path, capsys):
    """The rest is explained."""
    run = ExperimentFolder(tmp_path / "one").run("a")
    run.path.mkdir(parents=True)
    write_state(run, RunState(status="finished", num_iterations=7))
    run.events.mkdir()

    assert cli.main(["explain", str(run.path)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "why:           all 7 iterations are done"
    assert lines[-1].startswith(f"not read:      {run.events}: Is a directory: a folder is where")


def test_only_budgets_that_were_used_are_shown():
    """The JSON has all of them."""
    facts = make_facts(counted={"preempted": 3, "crashed": 1})

    lines = explanation_text(explain(facts), now=0.0).splitlines()

    assert "started again: preempted 3 of any, crashed 1 of 2" in lines
    assert len(explanation_json(explain(facts))["budgets"]) == 9


@pytest.mark.slow
def test_a_run_that_crashed_is_explained(workplace):
    """The last lines of its log, and how to start it again."""
    assert workplace.submit("architecture.arguments.groups=2", "--wait") == 1

    assert workplace.launch("explain", "dummies") == 0

    lines = workplace.out.splitlines()
    assert lines[0] == "dummies/dummies: failed, iteration 0 of 5"
    assert "divisible by groups" in lines[1]
    assert any(line.startswith("log:           experiments/dummies/runs") for line in lines)
    assert any(line.endswith("must be divisible by groups") for line in lines[2:])
    assert f"launch resubmit {workplace.run().path} --state failed" in workplace.out


@pytest.mark.slow
def test_a_run_that_is_trained_is_explained(workplace):
    """Who trains it, since when, and on what."""
    workplace.submit("num_iterations=1000000")
    workplace.wait_for_iteration()

    assert workplace.launch("explain", "dummies", "--json") == 0

    data = json.loads(workplace.out)
    assert f"process {workplace.trainer_pid()} on " in data["why"]
    assert (data["advice"], data["place"]) == ([], None)
    (attempt,) = data["attempts"]
    assert (attempt["number"], attempt["cause"], attempt["first_iteration"]) == (0, None, 0)
    assert data["holder"]["pid"] == workplace.trainer_pid()
