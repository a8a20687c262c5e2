"""What is remarkable about a run, from its events."""

from launcher.monitor.run_warnings import (
    NondeterminismWarning,
    NonFiniteWarning,
    RunWarnings,
    Unsaved,
    run_warnings,
)
from tests.launcher.explain.facts import EVENTS, REMARKS, WEIGHTS
from trainers.weights.weights_report import WeightsReport


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
        nondeterminism=(
            NondeterminismWarning(reason="the number of ranks is 2, and was 4", time=7, count=1),
            NondeterminismWarning(reason="deterministic is false", time=8, count=2),
        ),
        initial_weights=WeightsReport.from_event(WEIGHTS),
    )


def test_nothing_to_remark_on():
    """An event of another version says nothing."""
    assert run_warnings(EVENTS) == RunWarnings()
    assert run_warnings([{"event": "initialized", "path": "/two"}]) == RunWarnings()


def test_steps_that_were_not_taken():
    """Each iteration counts once, however often the run has met it."""
    event = {"event": "non_finite", "iteration": 7, "action": "skip", "reason": "iteration 7: nan"}
    later = {**event, "iteration": 12, "reason": "iteration 12: nan"}

    assert run_warnings([event, later, event]).non_finite == NonFiniteWarning(
        iterations=(7, 12), reason="iteration 12: nan"
    )
