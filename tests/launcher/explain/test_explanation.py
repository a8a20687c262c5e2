"""Why runs wait, go on or have ended, and what to do."""

import json
from typing import Any

import attrs
import pytest

from launcher import cli
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.explain.attempt_history import Attempt, attempt_history
from launcher.explain.explanation import Budget, explain
from launcher.explain.explanation_report import explanation_json, explanation_text
from launcher.explain.pending_reasons import pending_reason
from launcher.explain.run_info import RunInfo
from launcher.monitor.run_warnings import Doubt, RunWarnings, Unsaved, run_warnings
from launcher.monitor.status import RunStatus
from launcher.slurm.jobs import QueuedJob
from tests.fakes.fake_slurm import add_events, submitted
from trainers.config.checkpoint_config import CheckpointConfig
from trainers.config.run_config import ResourcesConfig, RetriesConfig
from trainers.run.lease import Lease
from trainers.run.run_state import RunState
from trainers.weights.weights_report import WeightsReport


def make_facts(state="waiting", *, counted=None, stalled=0, **changes):
    """Facts about a run; those with the names of its status go there."""
    status = {
        "name": "a",
        "experiment": "one",
        "folder": "/one/runs/a",
        "state": state,
        "iteration": 40,
        "num_iterations": 100,
        "attempts": counted or {},
        "reason": "",
        "wandb_id": "",
        "is_expected": False,
    }
    names = {each.name for each in attrs.fields(RunStatus)} - {"attempts"}
    status |= {name: changes.pop(name) for name in names & set(changes)}
    facts: dict[str, Any] = {
        "status": RunStatus(**status),
        "state": RunState(attempts=counted or {}, stalled=stalled, saved_iteration=30),
        "retries": RetriesConfig(),
        "resources": ResourcesConfig(gpus=1, cpus=1, memory_gb=16.0, time="01:00:00"),
        "saving": CheckpointConfig(),
        "log": "/one/runs/a/logs/attempt-001.rank-0.log",
        "last_lines": ("Traceback", "ValueError: no"),
    }
    return RunInfo(**(facts | changes))


def job(state, reason=None, **changes):
    known = {
        "state": state,
        "reason": reason,
        "partition": "gpu",
        "nodes": (),
        "time_left_s": None,
        "restarts": 0,
        "start_estimate": None,
    }
    return QueuedJob(**(known | changes))


def waiting_for(reason):
    """A run whose job waits."""
    return make_facts(
        is_expected=True,
        job_id="12_3",
        job_state="PENDING",
        reason=f"preempted (SIGTERM); its job 12_3 waits in the queue: {reason}",
        queued=job("PENDING", reason, start_estimate=1e9),
    )


def failed_by(cause, reason="", **changes):
    attempts = (Attempt(number=1, cause=cause, reason=reason, node="n1"),)
    return make_facts("failed", reason=reason, attempts=attempts, **changes)


RESUBMIT = "launch resubmit /one/runs/a --state"


@pytest.mark.parametrize(
    ("facts", "why", "advice"),
    [
        (make_facts("finished"), "all 100 iterations are done", []),
        (
            make_facts("planned"),
            "it was never submitted",
            ["submit it: launch submit FILE --cluster NAME"],
        ),
        (
            make_facts("cancelled"),
            "somebody asked for it to end",
            [f"carry it on: {RESUBMIT} cancelled"],
        ),
        (make_facts("running"), "its processes are starting or ending", []),
        (
            make_facts("submitted", is_expected=True),
            "its job runs, and has no place free for it yet",
            [],
        ),
        (
            make_facts(reason="exit code 1", is_expected=True),
            "exit code 1; its supervisor is about to start it again",
            [],
        ),
        (
            make_facts(
                reason="its job 12_3 has left the queue (TIMEOUT); submit again to carry on"
            ),
            "its job 12_3 has left the queue (TIMEOUT); submit again to carry on",
            [f"carry it on: {RESUBMIT} waiting"],
        ),
        (
            waiting_for("Priority"),
            "preempted (SIGTERM); its job 12_3 waits in the queue: Priority (jobs of a higher "
            "priority are ahead of it)",
            ["wait; a job that asks for less, or for a shorter --time, may start earlier"],
        ),
        (
            waiting_for("JobHeldUser"),
            "preempted (SIGTERM); its job 12_3 waits in the queue: JobHeldUser (you have put it on "
            "hold)",
            ["`scontrol release 12_3` lets it go"],
        ),
        (
            make_facts(doubt="Slurm is silent", reason="Slurm is silent", is_expected=True),
            "Slurm is silent",
            [
                "ask again when Slurm answers (`scontrol ping`)",
                "to start it elsewhere meanwhile: launch cancel /one/runs/a, then submit again",
            ],
        ),
    ],
)
def test_what_there_is_to_do(facts, why, advice):
    """A reason that a person understands, and nothing to do where waiting is enough."""
    found = explain(facts)

    assert (found.why, list(found.advice)) == (why, advice)


@pytest.mark.parametrize(
    ("facts", "advice"),
    [
        (
            failed_by("out_of_memory", "killed by the kernel, out of memory"),
            "ask for more memory: submit again with a larger resources.memory_gb, now 16",
        ),
        (
            failed_by("out_of_memory", "OutOfMemoryError: CUDA out of memory"),
            "the memory of its GPU was too small: a whole GPU if it has a share of one "
            "(resources.gpus), more of them for the same batch, or a --partition with larger ones",
        ),
        (
            failed_by("time_limit"),
            "its jobs reached their time limit more often than retries.time_limit allows: leave "
            "that out, or ask for longer jobs (--time)",
        ),
        (
            failed_by("preempted"),
            "it was preempted more often than retries.preempted allows: leave that out, or take a "
            "--partition whose jobs are not preempted",
        ),
        (
            failed_by("node_failure"),
            "its nodes (n1) were lost: see `sinfo -R`, or raise retries.node_failure",
        ),
        (failed_by("crashed"), "see the end of its log: /one/runs/a/logs/attempt-001.rank-0.log"),
        (
            failed_by("preempted", stalled=10),
            "its attempts end before they have saved anything: save more often than every 1000 "
            "iterations (checkpoint.every_iterations), or have longer jobs (--time)",
        ),
        (
            failed_by(
                "preempted",
                stalled=10,
                saving=CheckpointConfig(every_iterations=100, every_minutes=7.5),
            ),
            "its attempts end before they have saved anything: save more often than every 100 "
            "iterations (checkpoint.every_iterations) or every 7.5 minutes "
            "(checkpoint.every_minutes), or have longer jobs (--time)",
        ),
    ],
)
def test_what_may_keep_a_run_from_failing_again(facts, advice):
    """By the cause of the last end; then it can be started again."""
    found = explain(facts)

    assert list(found.advice) == [
        advice,
        f"start it again, with new budgets: {RESUBMIT} failed",
    ]
    assert found.last_lines == ("Traceback", "ValueError: no")


def test_budgets_count_from_the_last_submission():
    """Attempts that were forgiven are not among those used."""
    facts = make_facts("failed", counted={"crashed": 5, "preempted": 3})
    forgiven = attrs.evolve(facts.state, forgiven={"crashed": 3}, stalled=4)

    found = explain(attrs.evolve(facts, state=forgiven))

    assert found.budgets == (
        Budget(cause="preempted", used=3, allowed=None),
        Budget(cause="time_limit", used=0, allowed=None),
        Budget(cause="node_failure", used=0, allowed=10),
        Budget(cause="out_of_memory", used=0, allowed=1),
        Budget(cause="crashed", used=2, allowed=2),
        Budget(cause="without_progress", used=4, allowed=10),
    )


EVENTS = [
    {"time": 0, "event": "submitted", "pack": "pack-0000"},
    {
        "time": 10,
        "event": "launched",
        "attempt": 0,
        "job": "12_3",
        "node": "n1",
        "gpus": [["GPU-a"], ["GPU-b"]],
        "logs": ["/logs/0"],
    },
    {"time": 11, "event": "attempt", "pid": 7},
    {"time": 12, "event": "started", "iteration": 0},
    {"time": 20, "event": "checkpoint", "iteration": 30},
    {"time": 30, "event": "ended", "attempt": 0, "cause": "crashed", "reason": "exit code 1"},
    {"time": 31, "event": "launched", "attempt": 1, "node": "n2"},
    {"time": 32, "event": "restored", "iteration": 30},
    {
        "time": 40,
        "event": "ended",
        "cause": "preempted",
        "reason": "preempted (SIGTERM)",
        "iteration": 45,
        "saved": 40,
    },
    {"time": 50, "event": "launched", "attempt": 2},
    {"time": 60, "event": "launched", "attempt": 3},
    {"time": 61, "event": "restored", "iteration": 40},
    {"time": 62, "event": "checkpoint", "iteration": 50},
]


def test_the_history_of_attempts():
    """From the events of a run; one that nobody counted is among them, and one that goes on."""
    first, second, lost, last = attempt_history(EVENTS)

    assert first == Attempt(
        number=0,
        began=10,
        ended=30,
        cause="crashed",
        reason="exit code 1",
        first_iteration=0,
        iteration=30,
        saved=30,
        job="12_3",
        node="n1",
        gpus=(("GPU-a",), ("GPU-b",)),
        logs=("/logs/0",),
    )
    assert (first.gained, first.lost) == (30, 0)
    assert (second.gained, second.lost) == (10, 5)
    assert (lost.number, lost.cause, lost.gained) == (2, None, None)
    assert (last.number, last.ended, last.gained, last.lost) == (3, None, 10, None)


def test_the_history_of_a_run_that_was_debugged():
    """No supervisor has told of its launch."""
    events = [
        {"time": 1, "event": "attempt", "pid": 7},
        {"time": 2, "event": "started", "iteration": 0},
        {"time": 3, "event": "ended", "attempt": 0, "cause": "finished", "saved": 5},
        {"time": 4, "event": "ended", "attempt": 1, "cause": "node_failure", "reason": "lost"},
    ]

    assert [
        (each.number, each.began, each.cause, each.gained) for each in attempt_history(events)
    ] == [
        (0, 1, "finished", 5),
        (1, None, "node_failure", None),
    ]


WEIGHTS = {
    "path": "/two/runs/b/checkpoints/iteration-000000100",
    "iteration": 100,
    "averaged": True,
    "num_matched": 10,
    "num_tensors": 13,
    "missing": ["norm.weight [4]"],
    "mismatched": ["head.weight [3, 4], there [1, 4]", "head.bias [3], there [1]"],
    "unexpected": [],
}
REMARKS = [
    {"time": 1, "event": "initialized", **WEIGHTS},
    {"time": 2, "event": "checkpoint_failed", "iteration": 10, "reason": "No space left"},
    {"time": 3, "event": "checkpoint_skipped", "iteration": 20},
    {"time": 4, "event": "checkpoint_failed", "iteration": 30, "reason": "read-only"},
    {
        "time": 5,
        "event": "checkpoint_damaged",
        "name": "iteration-000000035",
        "aside": "damaged-iteration-000000035-0",
        "reason": "rank-00000.safetensors has 5 bytes; 9 were written",
    },
    {"time": 6, "event": "inexact", "reason": "deterministic is false"},
    {"time": 7, "event": "inexact", "reason": "the number of ranks is 2, and was 4"},
    {"time": 8, "event": "inexact", "reason": "deterministic is false"},
]


def test_remarks_on_a_run():
    """Counts, and the newest reason; what was told again counts as one."""
    found = run_warnings([*EVENTS, *REMARKS])

    assert found == RunWarnings(
        damaged={
            "damaged-iteration-000000035-0": "rank-00000.safetensors has 5 bytes; 9 were written"
        },
        failed_saves=Unsaved(count=2, iteration=30, reason="read-only"),
        skipped_saves=Unsaved(
            count=1, iteration=20, reason="an earlier one was still being written"
        ),
        doubts=(
            Doubt(reason="the number of ranks is 2, and was 4", time=7, count=1),
            Doubt(reason="deterministic is false", time=8, count=2),
        ),
        first_weights=WeightsReport.from_event(WEIGHTS),
    )


def test_nothing_to_remark_on():
    """An event of another version says nothing."""
    assert run_warnings(EVENTS) == RunWarnings()
    assert run_warnings([{"event": "initialized", "path": "/two"}]) == RunWarnings()


def test_remarks_as_text():
    """Only what there is: a line each, with the newest of many."""
    facts = attrs.evolve(
        make_facts("running"),
        remarks=run_warnings(REMARKS),
        damaged=("damaged-iteration-000000020-0", "damaged-iteration-000000035-0"),
    )

    lines = explanation_text(explain(facts), now=100).splitlines()

    start = lines.index(
        "first weights: 10 of 13 tensors began as the averaged weights of "
        "/two/runs/b/checkpoints/iteration-000000100"
    )
    assert lines[start + 1 : start + 3] == [
        "               new, not there: norm.weight [4]",
        "               new, of another shape there: head.weight [3, 4], there [1, 4], "
        "head.bias [3], there [1]",
    ]
    assert lines[start + 3].startswith("not exact:     the number of ranks is 2, and was 4 (19")
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


LESS = "`launch cancel` its runs, then submit them again with"


@pytest.mark.parametrize(
    ("word", "meaning", "advice", "ends_by_itself"),
    [
        ("Resources", "it is next in line, and nodes are not free yet", "wait; a job", True),
        ("Dependency", "another job has to end first", "wait for that job", True),
        ("BeginTime", "it may not begin before a set time; after a requeue", "wait", True),
        ("JobArrayTaskLimit", "as many jobs of its array run as may", "wait, or raise max_", True),
        ("JobHeldAdmin", "an administrator, or Slurm itself", "`scontrol release 7` lets", False),
        ("launch failed requeued held", "a node could not start it", "`scontrol release 7`", False),
        ("launch_failed_requeued_held", "a node could not start it", "`scontrol release 7`", False),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", "nodes that it needs are", "see `sinfo", True),
        (
            "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority"
            "_partitions",
            "nodes that it needs are down, drained, or kept for other partitions",
            "see `sinfo -R`",
            True,
        ),
        ("PartitionTimeLimit", "it asks for more time", f"{LESS} a shorter --time", False),
        ("QOSMaxJobsPerUserLimit", "its QOS gives you no more running jobs", "wait until", True),
        ("QOSMaxGRESPerUser", "its QOS gives you no more GPUs for now", "wait until", True),
        ("QOSMaxCpuPerJobLimit", "it asks for more cores than its QOS", f"{LESS} less", False),
        ("AssocGrpCpuLimit", "its account gives all its users together no", "wait until", True),
        ("AssocGrpGRES", "its account gives all its users together no more GPUs", "wait", True),
        ("AssocMaxWallDurationPerJobLimit", "it asks for more time than its", LESS, False),
        ("AssociationJobLimit", "its account gives you no more running jobs", "wait until", True),
        ("Moonphase", "a reason that is not known here", "`scontrol show job 7` has more", True),
        (None, "Slurm has not looked at it yet", "wait", True),
    ],
)
def test_why_a_job_waits(word, meaning, advice, ends_by_itself):
    """Slurm's words in plain ones, and what to do if waiting is not enough."""
    found = pending_reason(word, "7")

    assert found.meaning.startswith(meaning)
    assert found.advice.startswith(advice)
    assert found.ends_by_itself == ends_by_itself


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
    assert lines[7] == (
        "started again: preempted 0 of any, time_limit 0 of any, node_failure 0 of 10, "
        "out_of_memory 0 of 1, crashed 0 of 2, without_progress 0 of 10"
    )
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
