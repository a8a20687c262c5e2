import json
from pathlib import Path

import pytest

from launcher.errors import SlurmError
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.explain.node_history import node_histories
from launcher.job import bad_nodes
from launcher.job.bad_nodes import (
    NodeFailure,
    NodeFailureKind,
    exclude_list,
    excluded_nodes,
    forget_node,
    kind_of,
    nodes_to_exclude,
    note_node_failure,
    read_node_failures,
    with_exclude,
)
from launcher.slurm import client
from trainers import exit_codes

DAY = 24 * 3600.0
FAULT, HANG = NodeFailureKind.GPU_FAULT, NodeFailureKind.HANG


@pytest.fixture
def experiment(tmp_path) -> ExperimentFolder:
    return ExperimentFolder(tmp_path)


def failures(*facts: tuple[str, str, float]) -> list[NodeFailure]:
    return [NodeFailure(node=node, kind=kind, time=time) for node, kind, time in facts]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([], []),
        ([("n1", FAULT, 0)], []),
        ([("n1", FAULT, 0), ("n1", FAULT, DAY)], ["n1"]),
        ([("n1", FAULT, 0), ("n1", FAULT, DAY + 1)], []),
        ([("n1", FAULT, 0), ("n1", HANG, 1)], []),
        ([("n1", FAULT, 0), ("n2", FAULT, 1)], []),
        ([("n1", FAULT, 0), ("n1", FAULT, 9), ("n2", HANG, 1), ("n2", HANG, 2)], ["n1", "n2"]),
        ([("n1", FAULT, 0), ("n1", FAULT, 1), ("n1", FAULT, 5 * DAY)], ["n1"]),
    ],
)
def test_two_failures_of_one_kind_within_a_day_make_a_bad_node(facts, expected):
    """Whatever came between them; the node that failed last is the first one."""
    assert bad_nodes.bad_nodes(failures(*facts)) == expected


@pytest.mark.parametrize(
    ("exit_status", "expected"),
    [
        (exit_codes.NODE_FAULT, FAULT),
        (exit_codes.HANG, HANG),
        (exit_codes.FAILED, None),
        (exit_codes.OUT_OF_MEMORY, None),
        (exit_codes.NON_FINITE, None),
        (exit_codes.UNAVAILABLE, None),
        (exit_codes.RANK_LOST, None),
        (-9, None),
    ],
)
def test_what_a_node_is_blamed_for(exit_status, expected):
    """A bug, too little memory, NaN and missing data would be the same on any node."""
    assert kind_of(exit_status) == expected


@pytest.mark.parametrize(
    ("bad", "partition", "num_nodes", "expected"),
    [
        (["n1"], ["n1", "n2"], 1, ("n1",)),
        (["n1"], ["n1"], 1, ()),
        (["n3", "n1", "n2"], ["n1", "n2", "n3", "n4"], 1, ("n1", "n3")),
        (["n1"], ["n1", "n2"], 2, ()),
        (["elsewhere"], ["n1", "n2"], 1, ()),
        (["n1"], [], 1, ()),
    ],
)
def test_a_job_still_finds_nodes(bad, partition, num_nodes, expected):
    """At most half of the usable nodes are excluded, the worst first, and never too many."""
    assert nodes_to_exclude(bad, partition, num_nodes=num_nodes) == expected


def test_failures_are_kept_until_their_node_is_forgotten(experiment):
    """What was noted is read again, and a forgotten node starts from nothing."""
    first = NodeFailure(node="n1", kind=FAULT, run="a", job="7", gpus=("GPU-1",), reason="ECC")
    other = NodeFailure(node="n2", kind=HANG)
    for failure in (first, other, first):
        note_node_failure(experiment, failure)
    assert read_node_failures(experiment) == [first, other, first]

    assert forget_node(experiment, "n1")

    assert read_node_failures(experiment) == [other]
    assert not forget_node(experiment, "n1")
    note_node_failure(experiment, first)
    assert read_node_failures(experiment) == [other, first]


def test_the_history_of_a_node():
    """How often it failed and how, whether it is avoided, and what happened last."""
    its = [
        NodeFailure(node="n1", kind=kind, time=time, run="a", reason=reason)
        for kind, time, reason in [(FAULT, 1.0, "x"), (HANG, 2.0, "y"), (FAULT, 3.0, "z")]
    ]

    (history,) = node_histories(its)

    assert (history.failures, history.is_avoided) == ("GPU fault 2, hang 1", True)
    assert (history.first, history.last, history.reason) == (1.0, 3.0, "a: z")


def test_damaged_lines_are_left_out(experiment):
    """Half a line, of a process that was killed, and those of a later version; what is appended to
    half a line is whole."""
    line = {"event": "failure", "node": "n1", "kind": "new", "time": 1, "later": 2}
    lines = [line, {"event": 0}, {**line, "time": "yesterday"}]
    experiment.nodes.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + '{"ev')
    second = NodeFailure(node="n2", kind=HANG)
    note_node_failure(experiment, second)

    assert read_node_failures(experiment) == [NodeFailure(node="n1", kind="new", time=1), second]


def test_a_disk_that_refuses_the_file_ends_nothing(caplog):
    """A warning says what could not be written."""
    nowhere = ExperimentFolder(Path("/proc/no/such/folder"))

    note_node_failure(nowhere, NodeFailure(node="n1", kind=FAULT))

    assert read_node_failures(nowhere) == []
    assert "cannot write to /proc/no/such/folder/nodes.jsonl" in caplog.text


def test_slurm_is_asked_only_if_a_node_is_bad(experiment, monkeypatch):
    """And while it does not answer, nothing is excluded."""
    monkeypatch.setattr(client, "usable_nodes", pytest.fail)
    assert excluded_nodes(experiment, "gpu", 1) == ()

    def no_answer(partition):
        raise SlurmError("sinfo", "no answer")

    monkeypatch.setattr(client, "usable_nodes", no_answer)
    for _ in range(2):
        note_node_failure(experiment, NodeFailure(node="n1", kind=FAULT))
    assert excluded_nodes(experiment, "gpu", 1) == ()

    monkeypatch.setattr(client, "usable_nodes", lambda partition: ("n1", "n2"))
    assert excluded_nodes(experiment, "gpu", 1) == ("n1",)


def test_the_exclusions_of_the_cluster_config_stay():
    """Bad nodes come on top of them, each once."""
    parameters = {"nodes": 1, "additional_parameters": {"exclude": "n[7-9],n1", "requeue": True}}

    assert exclude_list(parameters, ["n1", "n2"]) == "n[7-9],n1,n2"
    assert with_exclude(parameters, ["n2"])["additional_parameters"] == {
        "exclude": "n[7-9],n1,n2",
        "requeue": True,
    }
    assert with_exclude(parameters, []) == parameters
