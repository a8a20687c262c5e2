"""What a storm holds to be wrong."""

from __future__ import annotations

import pytest

from scripts.stress.storm_packs.checks import HANG_S, errors, hangs, torn_lines
from scripts.stress.storm_packs.faults import Fault
from scripts.stress.storm_packs.kinds import INFLICTIONS, WEIGHTS
from scripts.stress.storm_packs.watch import Life


def life(*, ended: float) -> Life:
    """Of the run `one`, from 0 on."""
    return Life(
        run="one",
        attempt=0,
        job="7",
        node="n1",
        gpus=("0",),
        share=1.0,
        pids=(1,),
        began=0.0,
        ended=ended,
    )


def fault(kind: str, *, seconds: float = 0.0) -> Fault:
    """At 100, to the run `one`."""
    return Fault(kind=kind, time=100.0, seconds=seconds, what="", runs=["one"])


def test_a_hang_that_nobody_caused_is_a_false_alarm() -> None:
    """Whatever else has befallen the run."""
    (problem,) = hangs(
        {"one": 1, "two": 0},
        {"one": 0.0, "two": 0.0},
        [life(ended=120)],
        [fault("freeze", seconds=8)],
    )
    assert problem == "one: 1 attempts ended as hung, and 0 were made to hang"


def test_a_hang_that_is_ended_is_as_it_must_be() -> None:
    """Also if something else has ended the attempt before the watchdog did."""
    hung = [fault("hang_worker")]
    assert list(hangs({"one": 1}, {"one": 0.0}, [life(ended=140)], hung)) == []
    assert list(hangs({"one": 0}, {"one": 0.0}, [life(ended=101)], hung)) == []


def test_a_hang_that_nobody_ends_is_a_problem() -> None:
    """The watchdog has a limit."""
    (problem,) = hangs({"one": 0}, {"one": 0.0}, [life(ended=101 + HANG_S)], [fault("hang_worker")])
    assert "hung for 121 s" in problem


def test_a_hang_is_ended_later_where_samples_are_slow() -> None:
    """The watchdog waits for five times as long as the slowest one."""
    found = hangs({"one": 0}, {"one": 1.0}, [life(ended=101 + HANG_S)], [fault("hang_worker")])
    assert list(found) == []


@pytest.mark.parametrize(("moment", "is_wrong"), [(99, True), (150, False)])
def test_a_full_disk_may_tear_lines(moment: float, is_wrong: bool) -> None:
    """And nothing else does."""
    found = list(torn_lines([(moment, "half a line")], [fault("disk_full", seconds=20)]))
    assert found == (["half a line"] if is_wrong else [])


@pytest.mark.parametrize(("moment", "is_wrong"), [(60, True), (110, False), (160, True)])
def test_a_silent_slurm_excuses_what_was_asked_meanwhile(moment: float, is_wrong: bool) -> None:
    """And nothing that was asked before, or long after."""
    found = list(errors([(moment, "no answer")], [fault("controller_down", seconds=20)]))
    assert found == (["no answer"] if is_wrong else [])


def test_every_kind_of_fault_is_drawn() -> None:
    """A kind without a weight would never happen."""
    assert WEIGHTS.keys() == INFLICTIONS.keys()
    assert min(WEIGHTS.values()) > 0
