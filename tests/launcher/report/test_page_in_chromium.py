"""The page of `launch report`, as a real browser without a network shows it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from launcher.cli import main
from launcher.experiment.experiment_folder import ExperimentFolder
from scripts.workloads.chromium import Chromium, find_chromium
from tests.launcher.report.made_runs import falling, make_run, write_snapshot

pytestmark = pytest.mark.browser

SORT = """
const header = (label) => [...document.querySelectorAll("table.runs th")].find(
  (th) => th.textContent === label);
const names = () => [...document.querySelectorAll("table.runs tbody tr")].map(
  (row) => row.querySelector("a").textContent);
const orders = [];
for (const label of %s) {
  header(label).querySelector("button").click();
  orders.push([header(label).getAttribute("aria-sort"), names()]);
}
return orders;
"""
PICTURES = """
const lastPixel = (picture) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  return [...context.getImageData(canvas.width - 1, canvas.height - 1, 1, 1).data];
};
return [...document.images].map((picture) =>
  [picture.alt, picture.naturalWidth > 300, lastPixel(picture)]);
"""
OVERFLOW = """
const right = document.documentElement.clientWidth;
const outside = [...document.querySelectorAll("body *")].filter((element) =>
  !element.closest(".scroll") && element.getBoundingClientRect().right > right + 1);
return [document.documentElement.scrollWidth - right, outside.map((each) => each.outerHTML)];
"""
TEXTS = """
return [...document.querySelectorAll("svg.chart text")].every((text) => {
  const inner = text.getBoundingClientRect();
  const outer = text.closest("svg").getBoundingClientRect();
  return inner.left >= outer.left - 1 && inner.right <= outer.right + 1
    && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
});
"""


@pytest.fixture
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Chromium:
    program = find_chromium()
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("there is no Chromium: scripts/setup-chromium installs it")
    if program is None:
        pytest.skip("there is no Chromium: scripts/setup-chromium installs it")
    return Chromium(program, tmp_path_factory.mktemp("chromium"))


@pytest.fixture
def page(experiment: ExperimentFolder, tmp_path: Path) -> Path:
    """The page of three runs, the middle one newly started, and with a name that is long."""
    long = make_run(experiment, "long_name-" + "0123456789" * 12, rows=falling(40, end=0.6))
    write_snapshot(long, 0)
    make_run(experiment, "new", status="planned", iteration=0)
    assert main(["report", "sweep"]) == 0
    return tmp_path / "sweep.html"


def test_a_page_asks_for_nothing_and_complains_of_nothing(page: Path, chromium: Chromium) -> None:
    """No request to another machine, no message on the console, nothing blocked."""
    visit = chromium.visit(page, "return document.title;")

    assert visit.result == "sweep"
    assert visit.complaints == []
    assert visit.requests == []


@pytest.mark.parametrize("has_policy", [True, False], ids=["with its policy", "without"])
def test_a_request_would_be_seen(page: Path, chromium: Chromium, has_policy: bool) -> None:
    """The policy of the page blocks what somebody might smuggle in; the browser complains."""
    text = page.read_text()
    text = text.replace("<main>", '<main><img src="http://example.org/a.png" alt="">')
    page.write_text(text if has_policy else text.replace("Content-Security-Policy", "generator"))

    visit = chromium.visit(page, "return 1;")

    assert visit.complaints != []
    assert visit.requests == ([] if has_policy else ["http://example.org/a.png"])


def test_the_table_sorts_by_a_click(page: Path, chromium: Chromium) -> None:
    """Up, down, by numbers as numbers and by names; a run without a value stays last."""
    labels = '["learning_rate", "learning_rate", "best loss", "best loss", "state"]'

    orders = chromium.visit(page, SORT % labels).result

    short = [(direction, [name[:10] for name in names]) for direction, names in orders]
    assert short[0][0] == "ascending"
    assert short[0][1].index("rate-0.01") < short[0][1].index("rate-0.1")
    assert short[1][0] == "descending"
    assert short[1][1][0] == "rate-0.1"
    assert short[2] == ("ascending", ["rate-0.002", "rate-0.01", "long_name-", "rate-0.1", "new"])
    assert short[3] == ("descending", ["rate-0.1", "long_name-", "rate-0.01", "rate-0.002", "new"])
    assert short[4][1][0] == "rate-0.1"  # failed


def test_every_picture_can_be_decoded(page: Path, chromium: Chromium) -> None:
    """One for each run that has snapshots, with a text that says what it shows."""
    pictures = chromium.visit(page, PICTURES).result

    white = [255, 255, 255, 255]  # the paper; what is missing of a picture would be transparent
    assert [found for _, *found in pictures] == [[True, white], [True, white]]
    assert pictures[0][0].endswith("prediction of rate-0.002 in iteration 100")


def test_a_torn_picture_would_be_seen(page: Path, chromium: Chromium) -> None:
    """The check above finds the end of a picture missing."""
    text = page.read_text()
    page.write_text(re.sub(r"(base64,[^\"]{9000})[^\"]*", r"\1", text, count=1))

    torn, whole = chromium.visit(page, PICTURES).result

    assert torn[2] != whole[2] == [255, 255, 255, 255]


@pytest.mark.parametrize("width", [500, 1280, 2400])
def test_nothing_runs_over_the_edge(page: Path, chromium: Chromium, width: int) -> None:
    """On a phone and on a wide screen; wide tables scroll inside of the page."""
    assert chromium.visit(page, OVERFLOW, width=width).result == [0, []]


def test_texts_of_charts_are_inside_of_them(page: Path, chromium: Chromium) -> None:
    """No tick or label is cut off."""
    assert chromium.visit(page, TEXTS).result is True


def test_what_runs_say_is_never_markup(page: Path, chromium: Chromium) -> None:
    """A reason with tags in it is shown letter by letter."""
    visit = chromium.visit(page, "return [document.body.innerText, document.querySelector('b')];")

    assert "exit code 1: </script><b>& so on</b>" in visit.result[0]
    assert visit.result[1] is None
