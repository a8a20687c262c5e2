"""Twelve runs of unequal size in a few jobs, which are preempted again and again."""

import random

import pytest

from scripts.stress.storm_packs.references import train_references
from scripts.stress.storm_packs.storm_round import Round
from scripts.stress.storm_packs.storming import weather
from scripts.stress.storm_packs.unequal_runs import UnequalRuns

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

PREEMPTIONS = 10


def test_preempted_at_random(sandbox, tmp_path):
    """All finish as if nothing had happened, but for the one that crashes always: it is given up.

    No GPU is ever given twice, nothing is lost, and no member starts after its end.
    """
    sandbox.configure(grace=20)
    runs = UnequalRuns(tmp_path, num_iterations=150, seconds=0.15, crashes=2)
    result = weather(
        sandbox,
        Round(runs, "packed", "preemptible"),
        train_references(runs),
        draw=random.Random(0),
        kinds={"preempt": 1},
        every_s=3,
        goes_on=lambda count: count < PREEMPTIONS,
        say=print,
    )
    assert result.problems == []
    assert result.faults["preempt"] == PREEMPTIONS
    assert result.attempts["preempted"] >= PREEMPTIONS
    assert result.lost.total() == 0
