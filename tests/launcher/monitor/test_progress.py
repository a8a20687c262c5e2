"""What is shown while somebody waits."""

from launcher.monitor.progress import LineProgress, ScreenProgress
from launcher.monitor.status import RunStatus


def status(name, state, iteration):
    return RunStatus(
        name=name,
        experiment="one",
        folder=f"/one/runs/{name}",
        state=state,
        iteration=iteration,
        num_iterations=10,
        attempts={},
        reason="",
        wandb_id="",
        is_expected=True,
    )


def test_a_log_gets_a_line_when_a_run_changes_its_state():
    """And one every ten seconds while iterations are done, but none while nothing happens."""
    progress = LineProgress()
    looks = [
        (0, status("a", "submitted", 0)),
        (1, status("a", "running", 0)),
        (2, status("a", "running", 3)),
        (11, status("a", "running", 7)),
        (22, status("a", "running", 7)),
        (23, status("a", "finished", 10)),
    ]

    assert [progress.text([look], now_s) for now_s, look in looks] == [
        "1 run: 1 submitted; iteration 0 of 10\n",
        "1 run: 1 running; iteration 0 of 10\n",
        "",
        "1 run: 1 running; iteration 7 of 10\n",
        "",
        "1 run: 1 finished; iteration 10 of 10\n",
    ]


def test_a_screen_is_drawn_again_in_its_place():
    """The cursor goes up by as many lines as were drawn before."""
    progress = ScreenProgress(columns=80, lines=24)

    first = progress.text([status("a", "submitted", 0)], 0)
    second = progress.text([status("a", "running", 5)], 1)

    assert first == (
        "RUN  STATE      ITERATION  ATTEMPTS  REASON\n"
        "a    submitted  0 of 10\n"
        "1 run: 1 submitted; iteration 0 of 10\n"
    )
    assert second == (
        "\x1b[3A\x1b[J"
        "RUN  STATE    ITERATION  ATTEMPTS  REASON\n"
        "a    running  5 of 10\n"
        "1 run: 1 running; iteration 5 of 10\n"
    )


def test_what_does_not_fit_on_the_screen_is_left_out():
    """The most telling runs stay; lines are cut, for a wrapped one would spoil the next picture."""
    progress = ScreenProgress(columns=20, lines=6)
    names = {"a": "finished", "b": "submitted", "c": "running", "d": "failed"}

    text = progress.text([status(name, state, 0) for name, state in names.items()], 0)

    assert text.splitlines() == [
        "RUN  STATE    ITERA",
        "d    failed   0 of ",
        "c    running  0 of ",
        "4 runs: 1 submitted",
    ]
