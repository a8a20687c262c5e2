"""Runs side by side."""

from __future__ import annotations

import csv
import io
import json
import sys

import pytest

from launcher.cli import main
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.report.differing_keys import ABSENT, differing_keys, short_labels, show_value
from tests.launcher.report.made_runs import falling, make_run


def launch(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    return (code, *capsys.readouterr())


def test_only_keys_that_differ_are_shown() -> None:
    """By their dotted names; a key that a config lacks is absent, and 1 is not true."""
    configs = [
        {"name": "a", "seed": 1, "net": {"kind": "unet", "depth": 3}, "shape": [1, 2], "on": 1},
        {"name": "b", "seed": 1, "net": {"kind": "mine"}, "shape": [1, 3], "on": True},
    ]

    assert differing_keys(configs) == {
        "net.kind": ["unet", "mine"],
        "net.depth": [3, ABSENT],
        "shape": [[1, 2], [1, 3]],
        "on": [1, True],
    }
    assert differing_keys(configs[:1]) == differing_keys([]) == {}


def test_a_config_that_cannot_be_read_differs_in_nothing() -> None:
    """It would otherwise lack each key of the others."""
    configs = [{"seed": 1, "name": "a", "time": 3}, {}, {"seed": 2, "name": "b", "time": 3}]

    assert differing_keys(configs) == {"seed": [1, ABSENT, 2]}


def test_lists_of_tables_are_compared_by_position() -> None:
    """As long as they have as many: otherwise they differ as a whole."""
    one, other = [{"kind": "simple"}, {"sigma": 1}], [{"kind": "simple"}, {"sigma": 2}]

    assert differing_keys([{"a": one}, {"a": other}]) == {"a.1.sigma": [1, 2]}
    assert differing_keys([{"a": one}, {"a": one[:1]}]) == {"a": [one, one[:1]]}


def test_labels_are_as_short_as_they_can_be() -> None:
    """The last part of a key, and more where that is not enough."""
    assert short_labels(["trainer.rate", "a.kind", "b.kind", "augments.1"]) == [
        "rate",
        "a.kind",
        "b.kind",
        "augments.1",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        (1e-5, "1e-05"),
        (0.1 + 0.2, "0.3"),
        (float("inf"), "inf"),
        (200, "200"),
        ([1, 2.5], "[1, 2.5]"),
        ({"kind": "é"}, '{"kind": "é"}'),
        ("fp16", "fp16"),
        (ABSENT, "-"),
    ],
)
def test_values_are_shown_as_a_config_has_them(value: object, shown: str) -> None:
    """No digits that nobody has written; what is missing is a dash."""
    assert show_value(value) == shown


def test_compare_shows_what_differs_and_what_came_of_it(experiment, capsys) -> None:
    """A row per run, in the order of names."""
    code, out, _ = launch(capsys, "compare", "sweep")

    header, *rows = out.splitlines()
    assert code == 0
    assert header.split("  ")[0] == "RUN"
    assert all(word in header for word in ("NUM_FEATURES", "LEARNING_RATE", "BEST LOSS", "AT"))
    assert "BATCH_SIZE" not in header
    assert [row.split()[:5] for row in rows] == [
        ["rate-0.002", "finished", "100", "100", "8"],
        ["rate-0.01", "finished", "100", "100", "8"],
        ["rate-0.1", "failed", "30", "100", "16"],
    ]


@pytest.mark.parametrize(
    ("column", "first"),
    [("best loss", "rate-0.002"), ("LEARNING_RATE", "rate-0.002"), ("iterations", "rate-0.1")],
)
def test_rows_can_be_sorted(experiment, capsys, column: str, first: str) -> None:
    """By a column's label in any case, the lowest or best first."""
    _, out, _ = launch(capsys, "compare", "sweep", "--sort", column)

    assert out.splitlines()[1].split()[0] == first


def test_a_metric_of_which_more_is_better(experiment, capsys) -> None:
    """--best max turns the best value and the order of the column that has it."""
    for name, values in {"a": (0.2, 0.7), "b": (0.9, 0.1)}.items():
        rows = [{"iteration": n, "loss": 1.0, "dice": value} for n, value in enumerate(values)]
        make_run(experiment, name, rows=rows)

    arguments = ("compare", "sweep", "--metric=dice", "--best=max", "--sort=best dice", "--json")
    _, out, _ = launch(capsys, *arguments)

    found = [(each["run"], each["best_dice"], each["best_iteration"]) for each in json.loads(out)]
    assert found[:2] == [("b", 0.9, 0), ("a", 0.7, 1)]
    assert {each[1] for each in found[2:]} == {None}


def test_the_metric_of_keep_best_is_the_default(experiment, capsys) -> None:
    """With its mode: a config has said already what is best."""
    keep_best = {"metric": "dice", "mode": "max"}
    rows = [{"iteration": n, "loss": 1.0, "dice": value} for n, value in enumerate((0.2, 0.7))]
    make_run(experiment, "a", overrides={"checkpoint.keep_best": keep_best}, rows=rows)

    _, out, _ = launch(capsys, "compare", "experiments/sweep/runs/a", "--json")

    assert json.loads(out)[0]["best_dice"] == 0.7


def test_a_column_is_there_once(experiment, capsys) -> None:
    """The iterations that a sweep varies have a column anyway."""
    make_run(experiment, "short", num_iterations=50)

    _, out, _ = launch(capsys, "compare", "sweep", "--csv")

    header = out.splitlines()[0].split(",")
    assert header.count("num_iterations") == 1
    assert len(set(header)) == len(header)


def test_csv_has_all_digits_and_full_names(experiment, capsys, tmp_path) -> None:
    """Missing values are empty; with a file, the table for people goes to stdout all the same."""
    make_run(experiment, "new", status="planned", iteration=0, overrides={"trainer.ema_decay": 0.9})
    _, out, _ = launch(capsys, "compare", "sweep", "--csv")
    _, table, _ = launch(capsys, "compare", "sweep", "--csv", "table.csv")

    rows = {row["run"]: row for row in csv.DictReader(io.StringIO(out))}
    assert (tmp_path / "table.csv").read_text() == out
    assert table.startswith("RUN")
    assert rows["rate-0.002"]["trainer.learning_rate"] == "0.002"
    assert (
        float(rows["rate-0.002"]["best_loss"]).hex()
        == float(json.loads(launch(capsys, "compare", "sweep", "--json")[1])[1]["best_loss"]).hex()
    )
    assert (rows["new"]["loss_of_last_tenth"], rows["new"]["best_iteration"]) == ("", "")
    assert (rows["new"]["trainer.ema_decay"], rows["rate-0.1"]["trainer.ema_decay"]) == (
        "0.9",
        "null",
    )


def test_runs_of_several_experiments(experiment, capsys, tmp_path) -> None:
    """They have a column for it; a folder, a name and a run may be mixed, each run once."""
    other = ExperimentFolder(tmp_path / "experiments" / "other")
    make_run(other, "rate-0.1", rows=falling(10))

    code, out, _ = launch(
        capsys, "compare", "experiments/other", "sweep/rate-0.01", "other/rate-0.1"
    )

    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["EXPERIMENT", "RUN"],
        ["other", "rate-0.1"],
        ["sweep", "rate-0.01"],
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sweep", "--metric", "los"), "no run has the metric 'los'; did you mean 'loss'?"),
        (("sweep", "--sort", "rate"), "no column 'rate' to sort by"),
        (("swep",), "no run or experiment 'swep'"),
        (("sweep", "--plot", "curves.xyz"), "found the ending 'xyz'; allowed: "),
    ],
)
def test_what_cannot_be_compared(experiment, capsys, arguments, message) -> None:
    """Exit code 2, and what there is."""
    code, out, err = launch(capsys, "compare", *arguments)

    assert (code, out) == (2, "")
    assert message in err


def test_damaged_runs_are_rows_all_the_same(experiment, capsys) -> None:
    """What could not be read is said on stderr, by run."""
    experiment.run("rate-0.1").config.write_text("name: [")
    experiment.run("rate-0.01").state.write_text("{")
    with experiment.run("rate-0.002").metrics.open("a") as file:
        file.write('torn\n{"iteration": 100, "loss": 7}\n')

    code, out, err = launch(capsys, "compare", "sweep")

    assert code == 0
    assert len(out.splitlines()) == 4
    assert "rate-0.1: " in err and "not YAML" in err
    assert "left out of" in err and "metrics.jsonl, as they are damaged: 1 lines" in err


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_curves_can_be_plotted(experiment, capsys, tmp_path, ending: str) -> None:
    """By matplotlib, in the format of the file's name."""
    path = tmp_path / f"curves.{ending}"

    code, _, err = launch(capsys, "compare", "sweep", "--plot", str(path))

    begin = {"png": b"\x89PNG", "svg": b"<?xml"}[ending]
    assert code == 0
    assert f"plotted loss to {path}" in err
    assert path.read_bytes().startswith(begin)


def test_plots_need_matplotlib(experiment, capsys, monkeypatch) -> None:
    """Where it is not installed, it is said how to install it."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    code, _, err = launch(capsys, "compare", "sweep", "--plot", "curves.png")

    assert code == 2
    assert "pip install 'launch-trainers[plot]'" in err
