"""What the table of runs shows, in what order, and in how much room."""

import re

import pytest

from launcher.monitor.progress import run_line
from launcher.monitor.status import RunStatus
from launcher.monitor.status_table import select, status_lines, status_table, summary
from launcher.tables import display_width
from trainers.run.run_figures import BestMetric

SENTENCE = "CUDA error: an illegal memory access was encountered, in conv3d of layer 3"


def make_status(**changes):
    known = {
        "name": "a",
        "experiment": "one",
        "folder": "/one/runs/a",
        "state": "running",
        "iteration": 5,
        "num_iterations": 10,
        "attempts": {},
        "reason": "",
        "wandb_id": "",
        "is_expected": True,
    }
    return RunStatus(**{**known, **changes})


def best(value, mode="min"):
    return BestMetric(metric="loss", mode=mode, value=value, iteration=4)


@pytest.fixture
def runs():
    """One that trains and has everything, one that failed, and one that has nothing yet."""
    return [
        make_status(
            name="lr=0.001",
            loss=0.123456,
            iterations_per_s=1.2345,
            eta_s=7200.0,
            best=best(0.1),
            node="gpu01",
            num_nodes=2,
            silent_s=3.4,
            attempts={"preempted": 2, "crashed": 1},
            job_id="12_3",
            job_state="RUNNING",
        ),
        make_status(name="lr=0.01", state="failed", reason=SENTENCE, loss=2.5, silent_s=200_000.0),
        make_status(name="lr=0.1", state="submitted", iteration=0, num_iterations=0),
    ]


def test_a_pipe_gets_every_column_and_every_word(runs):
    """As wide as it comes; numbers stand on the right."""
    assert status_table(runs).splitlines() == [
        "RUN       STATE      ITERATION    LOSS  BEST LOSS    IT/S    ETA       SEEN  NODE         "
        "     ATTEMPTS                JOB           REASON",
        "lr=0.001  running    5 of 10    0.1235  0.1000 at 4  1.23  2.0 h    3 s ago  gpu01 and 1 m"
        "ore  2 preempted, 1 crashed  12_3 RUNNING",
        "lr=0.01   failed     5 of 10     2.500                            2.3 d ago               "
        "                                           " + SENTENCE,
        "lr=0.1    submitted  0 of ?",
    ]


def test_metrics_of_several_names_are_told_apart():
    """In the cells, rather than in the header."""
    other = BestMetric(metric="voi", mode="min", value=2.0, iteration=3)
    lines = status_table([make_status(best=best(0.1)), make_status(best=other)]).splitlines()

    assert [line.split("  ")[-1] for line in lines] == [
        "BEST",
        "loss 0.1000 at 4",
        "voi 2.000 at 3",
    ]


@pytest.mark.parametrize("width", [20, 40, *range(60, 245, 5)])
def test_a_table_fits_the_terminal(runs, width):
    """However narrow that is; which run it is, and its state, come first."""
    lines = [line.text for line in status_lines(runs, width=width)]

    assert max(map(display_width, lines)) <= width
    assert len(lines) == 4
    if width >= 40:
        assert lines[0].startswith("RUN") and "STATE" in lines[0]


def test_columns_are_left_out_by_importance(runs):
    """And the reason is cut where it would not fit otherwise."""
    shown = {
        width: re.split("  +", status_lines(runs, width=width)[0].text)
        for width in (60, 80, 100, 120, 160)
    }

    assert shown == {
        60: ["RUN", "STATE", "ITERATION", "LOSS"],
        80: ["RUN", "STATE", "ITERATION", "LOSS", "ETA", "REASON"],
        100: ["RUN", "STATE", "ITERATION", "LOSS", "BEST LOSS", "ETA", "SEEN", "REASON"],
        120: ["RUN", "STATE", "ITERATION", "LOSS", "BEST LOSS", "IT/S", "ETA", "SEEN", "ATTEMPTS",
              "REASON"],
        160: ["RUN", "STATE", "ITERATION", "LOSS", "BEST LOSS", "IT/S", "ETA", "SEEN", "NODE",
              "ATTEMPTS", "JOB", "REASON"],
    }  # fmt: skip


def test_long_names_are_cut_in_the_middle():
    """Runs of a sweep differ at either end."""
    names = [f"architecture.num_features=12,{'x' * 80},seed={number}" for number in range(2)]

    lines = status_lines([make_status(name=name, reason=SENTENCE) for name in names], width=80)

    assert [line.text.split()[0][-6:] for line in lines[1:]] == ["seed=0", "seed=1"]
    assert all("…" in line.text for line in lines[1:])


def test_what_a_terminal_cannot_show_is_written_out():
    """Columns stay in line, with characters that are wide, control a terminal, or do not exist."""
    names = ["größe", "細胞", "a\x1b[31mred", "new\nline", "\udcff", "\ud800"]
    statuses = [make_status(name=name, reason="x " * 60) for name in names]

    for encoding in ("ascii", "latin-1", "utf-8"):
        lines = [line.text for line in status_lines(statuses, width=70, encoding=encoding)]

        for line in lines:
            line.encode(encoding)
            assert line.isprintable() and display_width(line) <= 70
        begins = {display_width(line[: line.index("running")]) for line in lines[1:]}
        assert len(begins) == 1
        assert lines[1].endswith("…" if encoding == "utf-8" else "...")
    assert [line.split()[0] for line in lines[1:]] == [
        "größe",
        "細胞",
        "a\\x1b[31mred",
        "new",
        "\\xff",
        "\\ud800",
    ]


def test_parts_of_a_line_have_styles(runs):
    """The state in its color, a long silence of a run that trains, the reason of a failure."""
    silent = make_status(silent_s=700.0)

    _, running, failed, _, stuck = status_lines([*runs, silent])

    def styled(line):
        return [(line.text[begin:end].strip(), style) for begin, end, style in line.spans]

    assert styled(running) == [("running", "green")]
    assert styled(failed) == [("failed", "red"), (SENTENCE, "red")]
    assert styled(stuck) == [("running", "green"), ("12 min ago", "red")]


def test_runs_of_several_experiments_carry_their_names():
    """Runs of different experiments may have the same name."""
    lines = status_table([make_status(), make_status(experiment="two")]).splitlines()

    assert [line.split()[0] for line in lines] == ["RUN", "one/a", "two/a"]


def test_a_concern_stands_where_a_reason_would():
    """While there is none."""
    assert status_table([make_status(concern="slow: 2 s")]).endswith("5 of 10    slow: 2 s")


def test_runs_are_chosen_by_state(runs):
    """Several states may be given; all without any."""
    assert [each.name for each in select(runs, states=["failed", "submitted"])] == [
        "lr=0.01",
        "lr=0.1",
    ]
    assert select(runs) == runs


@pytest.mark.parametrize(
    ("column", "figures", "order"),
    [
        ("loss", [{"loss": 2.0}, {}, {"loss": 1.0}], [2, 0, 1]),
        ("best", [{"best": best(2.0)}, {}, {"best": best(1.0)}], [2, 0, 1]),
        ("best", [{"best": best(1.0, "max")}, {"best": best(2.0, "max")}, {}], [1, 0, 2]),
        ("it/s", [{}, {"iterations_per_s": 1.0}, {"iterations_per_s": 3.0}], [2, 1, 0]),
        ("eta", [{"eta_s": 3.0}, {"eta_s": 1.0}, {}], [1, 0, 2]),
        ("seen", [{"silent_s": 3.0}, {"silent_s": 9.0}, {}], [1, 0, 2]),
        ("state", [{"state": "finished"}, {"state": "running"}, {"state": "failed"}], [2, 1, 0]),
        ("iteration", [{"iteration": 1}, {"iteration": 3}, {"iteration": 2}], [1, 2, 0]),
        ("attempts", [{}, {"attempts": {"crashed": 2}}, {"attempts": {"hang": 1}}], [1, 2, 0]),
        ("run", [{"name": "c"}, {"name": "b"}, {"name": "a"}], [2, 1, 0]),
        ("node", [{"node": "n2"}, {}, {"node": "n1"}], [2, 0, 1]),
        ("job", [{"job_id": "2"}, {}, {"job_id": "1"}], [2, 0, 1]),
        ("reason", [{"reason": "y"}, {}, {"concern": "x"}], [2, 0, 1]),
    ],
)
def test_runs_are_sorted_by_a_column(column, figures, order):
    """What one looks for comes first, runs without a value last."""
    statuses = [make_status(**each) for each in figures]

    assert select(statuses, sort=column) == [statuses[number] for number in order]


def test_the_summary_counts_states():
    """And iterations, over all runs."""
    statuses = [make_status(), make_status(state="failed", num_iterations=0)]

    assert summary(statuses) == "2 runs: 1 running, 1 failed; iteration 10 of 10"


def test_a_run_in_one_line(runs):
    """What is known of it, and its reason."""
    assert [run_line(each) for each in runs] == [
        "lr=0.001: running, iteration 5 of 10, loss 0.1235, 1.23 it/s, 2.0 h left",
        f"lr=0.01: failed, iteration 5 of 10, loss 2.500: {SENTENCE}",
        "lr=0.1: submitted, iteration 0 of ?",
    ]
    assert re.fullmatch("one/a: .*", run_line(make_status(), with_experiment=True))
