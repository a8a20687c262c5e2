"""GPU hours used and lost, from events."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.report.gpu_use import GpuUse, gpu_use
from tests.launcher.report.made_runs import BEGAN, HOUR, attempt
from trainers.run.attempt_history import attempt_history

WHOLE: dict[str, Any] = {"gpus": 1.0, "nodes": 1}


def use(
    events: list[dict[str, Any]], resources: dict[str, Any], now: float | None = None
) -> GpuUse:
    return gpu_use(attempt_history(events), resources, now=now)


def test_unsaved_iterations_take_their_share() -> None:
    """Of 60 iterations in two hours 20 were not saved: 40 minutes are lost."""
    events = attempt(0, began_h=0, took_h=2, first=0, done=60, saved=40, cause="preempted")

    found = use(events, WHOLE)

    assert (found.hours, found.gpu_hours) == (2.0, 2.0)
    assert found.lost_gpu_hours == pytest.approx(2 / 3)


@pytest.mark.parametrize(("cause", "lost"), [("crashed", 1.0), ("finished", 0.0)])
def test_an_attempt_without_a_new_checkpoint(cause: str, lost: float) -> None:
    """It is lost as a whole, its start included; unless there was nothing left to do."""
    events = attempt(0, began_h=0, took_h=1, first=5, done=5, saved=5, cause=cause)

    assert use(events, WHOLE).lost_hours == lost


@pytest.mark.parametrize(
    ("gpus", "resources", "hours"),
    [
        ([["a"], ["b"]], {"gpus": 2, "nodes": 3}, 6.0),
        ([["a"]], {"gpus": 0.25, "nodes": 1}, 0.25),
        ([], {"gpus": 1.0, "nodes": 1}, 0.0),
        ([["a"], ["b"]], {}, 2.0),
    ],
    ids=["nodes", "a share", "on the CPU", "no config"],
)
def test_gpus_of_an_attempt(gpus: list[list[str]], resources: dict[str, Any], hours: float) -> None:
    """Those that it was given, on each of its nodes, or its share of one."""
    events = attempt(0, began_h=0, took_h=1, first=0, done=9, saved=9, cause="preempted", gpus=gpus)

    assert use(events, resources).gpu_hours == hours


def test_an_end_that_nobody_recorded() -> None:
    """The hours are left out, and said to be a lower bound; a run that trains counts until now."""
    events = attempt(0, began_h=0, took_h=1, first=0, done=9, saved=9, cause="x")[:2]
    later = attempt(1, began_h=5, took_h=2, first=0, done=9, saved=9, cause="finished")

    stale, running = use([*events, *later], WHOLE), use(events, WHOLE, BEGAN + 3 * HOUR)

    assert (stale.gpu_hours, stale.is_lower_bound) == (2.0, True)
    assert (running.gpu_hours, running.lost_hours, running.is_lower_bound) == (3.0, 0.0, False)
    assert (stale + running).gpu_hours == 5.0
    assert (stale + running).is_lower_bound
