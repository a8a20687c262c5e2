"""The attempts at a run, from its events."""

from tests.launcher.explain.facts import EVENTS
from trainers.run.attempt_history import Attempt, attempt_history


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
