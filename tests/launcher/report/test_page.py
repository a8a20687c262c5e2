"""The page of `launch report`, as text."""

from __future__ import annotations

import html.parser
import json
import re
import sys
import time
from pathlib import Path

import pytest

from launcher.cli import main
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.report.snapshot_pictures import MAX_PICTURE_BYTES
from launcher.report.svg_chart import Mark, Series, chart
from tests.launcher.report.made_runs import (
    attempt,
    falling,
    make_run,
    write_events,
    write_snapshot,
)

VOID = {"meta", "img", "br", "wbr"}
REMOTE = re.compile(r"""(?:src|href|url|@import)\s*[=(]?\s*["'(]?\s*(?!data:|#)[a-z]+:?//""", re.I)


class Checker(html.parser.HTMLParser):
    """Collects what is not closed, or closed twice."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def report(*arguments: str) -> str:
    """The page that a command writes, whose markup is sound."""
    assert main(["report", "sweep", "--output", "page.html", *arguments]) == 0
    text = Path("page.html").read_text()
    checker = Checker()
    checker.feed(text)
    assert (checker.open, checker.faults) == ([], [])
    assert len(set(checker.ids)) == len(checker.ids)
    return text


def test_a_page_tells_of_every_run(experiment: ExperimentFolder) -> None:
    """Values that differ, states, causes, the best run, hours, and its config."""
    text = report()

    assert "<title>sweep</title>" in text
    for part in (
        'title="trainer.learning_rate"',
        "num_<wbr>features",
        "1 preempted, 1 finished",
        ">failed</span>",
    ):
        assert part in text
    assert "<dd>rate-0.002<small>loss 0." in text
    assert "<dd>4.00<small>1.67 (42 %) lost at stops" in text  # 2 h · 20/60, and 1 h
    assert "learning_rate: 0.002" in text[text.index("Config of the best run") :]
    assert "launch-trainers" in text[text.index("<footer") :]
    assert not REMOTE.search(text)


def test_stops_and_resumes_are_marked(experiment: ExperimentFolder) -> None:
    """Where iterations were lost, the stop and the place from which they were repeated."""
    text = report()

    assert "attempt 0 stopped after iteration 60: preempted</title>" in text
    assert "attempt 1 resumed at iteration 40</title>" in text


def test_all_that_runs_say_is_escaped(experiment: ExperimentFolder) -> None:
    """Reasons, names of nodes and of metrics, values and paths."""
    evil = "</script><img src=x onerror=alert(1)>\"'&"
    run = make_run(
        experiment,
        "evil",
        overrides={
            "architecture": {
                "kind": "custom",
                "import_path": "torch.nn.modules.linear:Identity",
                "arguments": {"x": evil},
                "input_shape": [8, 8, 8],
            }
        },
        rows=[{"iteration": n, "loss": 0.01, evil: n} for n in range(3)],
        reason=evil,
        attempts={evil: 1},
    )
    events = attempt(0, began_h=0, took_h=1, first=0, done=3, saved=2, cause=evil, reason=evil)
    write_events(run, *[{**event, "node": evil, "gpus": [[evil]]} for event in events])
    run.metrics.write_text(f"{run.metrics.read_text()}torn {evil}\n")

    text = report()

    assert "<img src=x" not in text
    assert text.count("</script>") == 1
    assert text.count("&lt;img src=x onerror=alert(1)&gt;") > 5


def test_runs_without_anything(experiment: ExperimentFolder, capsys) -> None:
    """New runs, damaged files and damaged snapshots are told of; nothing is left out."""
    make_run(experiment, "new", status="planned", iteration=0)
    (experiment.run("nothing").path).mkdir()
    experiment.run("rate-0.1").config.write_text("name: [")
    experiment.run("rate-0.01").state.write_text("{")
    newest = experiment.run("rate-0.002").snapshots / "100"
    for path in newest.glob("*/.zattrs"):
        path.write_text("{")

    text = report()

    assert all(f"</svg>{name}</h3>" in text for name in ("new", "nothing", "rate-0.01", "rate-0.1"))
    assert "not YAML" in text
    assert "is not an image of a snapshot" in text
    assert "Snapshot of iteration 50" in text  # the newest that can be drawn
    assert "rate-0.1: " in capsys.readouterr().err


def test_only_new_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An experiment that was just submitted has a page, without a best run and curves."""
    monkeypatch.chdir(tmp_path)
    experiment = ExperimentFolder(tmp_path / "experiments" / "sweep")
    make_run(experiment, "new", status="planned", iteration=0)

    text = report()

    assert "Best run" not in text
    assert '<svg class="chart"' not in text


@pytest.mark.slow
def test_runs_that_are_training(workplace) -> None:
    """Their rows so far are compared and reported, while more are being written."""
    workplace.submit("num_iterations=1000000", "metrics.every_iterations=1")
    workplace.wait_for_iteration(iteration=100)
    while not workplace.run().metrics.stat().st_size:
        time.sleep(0.05)

    assert workplace.launch("compare", "dummies", "--json") == 0
    (row,) = json.loads(workplace.out)
    assert (row["state"], row["num_iterations"]) == ("running", 1000000)
    assert row["iterations"] >= 100
    assert row["best_loss"] >= 0
    assert workplace.launch("report", "dummies") == 0
    text = Path("dummies.html").read_text()
    assert ">running</span>" in text
    assert '<svg class="chart"' in text


def test_without_what_draws_snapshots(experiment: ExperimentFolder, monkeypatch) -> None:
    """A login node without tensorstore and Pillow writes the page, and it says what is missing."""
    write_snapshot(experiment.run("rate-0.01"), 100)
    monkeypatch.setitem(sys.modules, "trainers.snapshots.snapshot_picture", None)

    text = report()

    assert "data:image/png" not in text
    assert text.count("no pictures: this Python cannot draw snapshots") == 1
    assert "launch-trainers[train]" in text


def test_a_page_says_what_was_written(experiment: ExperimentFolder, capsys, tmp_path) -> None:
    """For people and for programs; without --output in the current folder."""
    main(["report", "sweep", "--json"])
    data = json.loads(capsys.readouterr().out)
    main(["report", "sweep"])
    line = capsys.readouterr().out

    page = tmp_path / "sweep.html"
    assert data == {"page": str(page), "bytes": page.stat().st_size, "runs": 3}
    assert line == "sweep.html: 3 runs, the best of them rate-0.002; 0.1 MB\n"


@pytest.mark.parametrize(
    "arguments", [("report", "--output"), ("compare", "--csv"), ("compare", "--plot")]
)
def test_a_file_that_cannot_be_written(experiment: ExperimentFolder, capsys, arguments) -> None:
    """Exit code 8, and one sentence with the path and what to do."""
    command, option = arguments

    code = main([command, "sweep", option, "missing/file.png"])

    assert code == 8
    assert "missing" in capsys.readouterr().err
    assert not Path("missing").exists()


@pytest.mark.slow
def test_a_large_sweep_is_a_small_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 runs of 10,000 rows, with pictures that compress badly: below 8 MB."""
    monkeypatch.chdir(tmp_path)
    experiment = ExperimentFolder(tmp_path / "experiments" / "sweep")
    for number in range(50):
        rows = falling(10_000, seed=number, samples_per_second=2.5, data_wait_s=0.1)
        run = make_run(
            experiment,
            f"seed-{number}",
            overrides={"seed": number},
            rows=rows,
            num_iterations=10_000,
        )
        write_snapshot(run, 9000, side=100, seed=number)

    text = report()

    assert len(text) < 8_000_000
    assert text.count("data:image/png") == 50
    pictures = re.findall(r"base64,([^\"]+)", text)
    assert max(map(len, pictures)) < MAX_PICTURE_BYTES
    assert "dashes-3" in text


def test_a_chart_is_logarithmic_where_values_are_far_apart() -> None:
    """Ticks are powers of ten then; a value of 0 or below makes it linear."""
    wide = chart([Series(name="a", points=[(0, 100.0), (9, 0.01)], number=0)], metric="loss")
    zero = chart([Series(name="a", points=[(0, 100.0), (9, 0.0)], number=0)], metric="loss")

    assert re.findall(r'class="end">([^<]+)', wide) == ["0.01", "0.1", "1", "10", "100"]
    assert re.findall(r'class="end">([^<]+)', zero) == ["0", "20", "40", "60", "80", "100"]


def test_a_chart_has_gaps_where_values_are_not_finite() -> None:
    """A line never leads over them, and a single value between two gaps is a dot."""
    nan = float("nan")
    points = [(0, 1.0), (1, 2.0), (2, nan), (3, 3.0), (4, nan), (5, 1.0)]

    (path,) = re.findall(
        r'class="curve[^"]*" d="([^"]+)"',
        chart([Series(name="a", points=points, number=0)], metric="loss"),
    )

    assert (path.count("M"), path.count("L"), path.count("h0")) == (3, 1, 3)


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-300, 1e300])
def test_a_chart_of_one_value(value: float) -> None:
    """It is drawn in the middle, whatever it is."""
    drawn = chart(
        [Series(name="a", points=[(0, value)], number=9)], [Mark(7, "stop")], metric="loss"
    )

    assert "nan" not in drawn
    assert 'color-1 dashes-1 run-9"' in drawn


def test_a_chart_of_nothing() -> None:
    """There is none."""
    assert chart([Series(name="a", points=[(0, float("nan"))], number=0)], metric="loss") == ""
    assert chart([], metric="loss") == ""
