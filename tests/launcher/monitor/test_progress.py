"""What is shown while somebody waits."""

from launcher.monitor.progress import LineProgress, failures, screen_lines
from launcher.monitor.status import RunStatus


def status(name, state, iteration=0, **changes):
    known = {
        "name": name,
        "experiment": "one",
        "folder": f"/one/runs/{name}",
        "state": state,
        "iteration": iteration,
        "num_iterations": 10,
        "attempts": {},
        "reason": "",
        "wandb_id": "",
        "is_expected": True,
    }
    return RunStatus(**{**known, **changes})


def test_a_log_gets_a_line_when_a_run_changes_its_state():
    """And one every ten seconds while iterations are done, but none while nothing happens."""
    progress = LineProgress()
    looks = [
        (0, status("a", "submitted")),
        (1, status("a", "running")),
        (2, status("a", "running", 3, loss=0.5)),
        (11, status("a", "running", 7, loss=0.25, iterations_per_s=0.5, eta_s=6.0)),
        (22, status("a", "running", 7, loss=0.25, iterations_per_s=0.5, eta_s=6.0)),
        (23, status("a", "finished", 10)),
    ]

    assert [progress.text([look], now_s) for now_s, look in looks] == [
        "a: submitted, iteration 0 of 10\n",
        "a: running, iteration 0 of 10\n",
        "",
        "a: running, iteration 7 of 10, loss 0.2500, 0.500 it/s, 6 s left\n",
        "",
        "a: finished, iteration 10 of 10\n",
    ]
    assert progress.end([looks[-1][1]]) == ""


def test_of_several_runs_those_that_change_have_a_line_each():
    """With the reason of a failure at its end; a summary begins and ends the log."""
    progress = LineProgress()
    first = [status("a", "running"), status("b", "running")]
    later = [status("a", "running", 3), status("b", "failed", 2, reason="RankError:\nlost")]
    last = [status("a", "finished", 10), later[1]]

    assert progress.text(first, 0) == "2 runs: 2 running; iteration 0 of 20\n"
    assert progress.text(later, 1) == "b: failed, iteration 2 of 10: RankError: lost\n"
    assert progress.text(later, 12) == "2 runs: 1 running, 1 failed; iteration 5 of 20\n"
    assert progress.text(last, 13) == "a: finished, iteration 10 of 10\n"
    assert progress.end(last) == "2 runs: 1 finished, 1 failed; iteration 12 of 20\n"


def test_a_run_that_was_started_again_between_two_looks_has_a_line():
    """Its state is the same, yet an attempt has ended."""
    progress = LineProgress()
    progress.text([status("a", "running", 5)], 0)

    text = progress.text([status("a", "running", 3, attempts={"preempted": 1})], 1)

    assert text == "a: running, iteration 3 of 10\n"


def test_what_does_not_fit_on_the_screen_is_left_out():
    """The most telling runs stay, and how many are missing is told; lines are cut."""
    names = {"a": "finished", "b": "submitted", "c": "running", "d": "failed"}
    statuses = [status(name, state) for name, state in names.items()]

    lines = screen_lines(statuses, columns=30, lines=5)

    assert [line.text for line in lines] == [
        "RUN  STATE    ITERATION",
        "d    failed   0 of 10",
        "c    running  0 of 10",
        "4 runs: 1 submitted, 1 runnin…",
    ]
    assert screen_lines(statuses, columns=90, lines=5)[-1].text.endswith("of 40; 2 not shown")


def test_an_order_that_was_asked_for_stays():
    """Then the first rows are those that are wanted."""
    statuses = [status("a", "finished"), status("b", "finished"), status("c", "failed")]

    lines = screen_lines(statuses, columns=80, lines=5, is_sorted=True)

    assert [line.text.split()[0] for line in lines[1:3]] == ["a", "b"]


def test_runs_that_are_not_shown_still_count():
    """As with `--state` or `--limit`."""
    all_runs = [status("a", "finished"), status("b", "failed")]

    assert [line.text for line in screen_lines([], columns=80, lines=9, total=all_runs)] == [
        "2 runs: 1 finished, 1 failed; iteration 0 of 20; 2 not shown"
    ]


def test_failures_are_told_in_full_at_the_end():
    """A screen has cut them; there may be thousands."""
    statuses = [
        status("a", "finished"),
        *(status(f"r{number}", "failed", reason="x" * 200) for number in range(25)),
    ]

    told = failures(statuses)

    assert told[0] == f"r0: failed, iteration 0 of 10: {'x' * 200}"
    assert len(told) == 21
    assert told[-1] == "and 5 more: see `launch status --state failed,waiting,cancelled`"
