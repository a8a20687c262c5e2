"""What README and the pages of docs/ say is so."""

import inspect
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.experiment.experiment import read_experiment
from trainers import AugmentConfig
from trainers.config.config_io import from_plain
from trainers.datasets.dataset_config import DatasetConfig
from trainers.errors import ConfigError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "fib25.yaml"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WITH_DECISIONS = [*PAGES, *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
MAX_LINES_OF_README = 150
ON_A_CLUSTER = re.compile(r"^launch .*\bslurm\b")
"""They are tried in tests/slurm."""
NOT_TRIED_HERE = {
    "scripts/quickstart": "has a test of its own, since it writes into a folder of its own",
    "scripts/test": "is running now",
    "scripts/setup-venv": "is the first step of both",
    "pip install": "needs a network",
    "git clone": "needs a network",
    "wandb sync": "needs a server",
    "launch sync": "needs a server",
    "launch report fib25-affinities --wandb": "needs a server",
    "sudo": "is for root",
    "scripts/slurm-sandbox": "is for root; the tests in tests/slurm start one",
    'eval "$(scripts/slurm-sandbox': "needs the sandbox of the line before",
}
"""Beginnings of commands, and why."""
STATES = {
    "README.md": {"fib25-affinities": "finished"},
    "getting-started.md": {"fib25-affinities": "finished", "debugged": "finished"},
    "checkpoints.md": {"fib25-affinities": "finished", "tuned": "finished"},
    "monitoring.md": {"learning_rate-0.001": "finished", "learning_rate-0.002": "finished"},
    "multi-gpu.md": {"ranks": "finished"},
    "own-parts.md": {"own": "finished", "tried": "finished"},
    "reports.md": {"learning_rate-0.0005": "finished", "learning_rate-0.002": "finished"},
    "wandb.md": {"fib25-affinities": "finished"},
}
"""Of the runs that the commands of a page leave."""
LEFT_BY = {"reports.md": ("rates.csv", "rates.png", "rates.html")}
"""Files that the commands of a page write."""
WITH_A_PICTURE = ("README.md", "getting-started.md")

Blocks = list[tuple[str, str]]


def name_of(page: Path) -> str:
    """Return the path of a page below the repository's root, to name a test."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Blocks:
    """Return language and text of the fenced blocks of a page, in order; language may be empty."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def blocks_of(page: Path, language: str) -> list[str]:
    """Return the blocks of one language."""
    return [text for each, text in blocks(page) if each == language]


def commands(text: str) -> list[str]:
    """Return the commands of a bash block, without comments."""
    return [line.split("  #")[0].strip() for line in text.splitlines()]


def cluster_commands(page: Path) -> list[str]:
    """Return the commands of a page that need Slurm, in order."""
    return list(filter(ON_A_CLUSTER.match, commands("".join(blocks_of(page, "bash")))))


def is_tried_here(command: str) -> bool:
    """Return whether a command works on a machine without root, network and Slurm."""
    return not ON_A_CLUSTER.match(command) and not command.startswith(tuple(NOT_TRIED_HERE))


def file_name(block: str) -> str | None:
    """Return the name of the file that a block is, if it begins with nothing but `# NAME.EXT`."""
    match = re.match(r"# (\w+\.\w+)\n", block)
    return match[1] if match else None


def with_something_to_run() -> list[Path]:
    """Return the pages that have commands or Python code to be tried here."""
    return [
        page
        for page in PAGES
        if any(map(is_tried_here, commands("".join(blocks_of(page, "bash")))))
        or blocks_of(page, "python")
    ]


def run(command: str, folder: Path, variables: Mapping[str, str] | None = None) -> str:
    """Run a shell command with this Python's programs first; return what it printed."""
    env = {**os.environ, **(variables or {})}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**env, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def states(folder: Path) -> dict[str, str]:
    """Return the states of the runs in a folder, by name."""
    return {each["name"]: each["state"] for each in json.loads(run("launch status --json", folder))}


def wait_until_nothing_runs(folder: Path) -> None:
    """Return once no run is running."""
    while "running" in states(folder).values():
        time.sleep(0.5)


def is_part_of(part: Any, whole: Any) -> bool:
    """Return whether each value of plain data is in other plain data, at the same place."""
    if isinstance(part, dict):
        return all(key in whole and is_part_of(part[key], whole[key]) for key in part)
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(is_part_of, part, whole))
    return bool(part == whole)


@pytest.mark.parametrize("page", WITH_DECISIONS, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file or folder of the repository."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text())

    assert [each for each in targets if not (page.parent / each).exists()] == []


@pytest.mark.parametrize("page", WITH_DECISIONS, ids=name_of)
def test_scripts_are_where_a_page_says(page: Path) -> None:
    """Every script that a page names is a file of the repository."""
    named = re.findall(r"\bscripts/[\w/-]+", page.read_text())

    assert [each for each in named if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("page", PAGES[1:], ids=name_of)
def test_every_page_can_be_found(page: Path) -> None:
    """README leads to every page of docs/."""
    targets = re.findall(r"\]\((docs/[^)]+)\)", PAGES[0].read_text())

    assert page.name == "README.md" or name_of(page) in targets


def test_readme_is_short() -> None:
    """A newcomer reads README to its end."""
    assert len(PAGES[0].read_text().splitlines()) <= MAX_LINES_OF_README


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_are_lines(page: Path) -> None:
    """Each line of a bash block is a command by itself, and each block of code ends."""
    assert page.read_text().count("\n```") % 2 == 0
    assert "" not in commands("".join(blocks_of(page, "bash")))


def test_readme_shows_the_core_of_the_example(tmp_path: Path) -> None:
    """Its experiment is valid as it stands, and says nothing that the example does not."""
    (shown,) = blocks_of(ROOT / "README.md", "yaml")
    (tmp_path / "data").symlink_to(ROOT / "examples" / "data")
    file = tmp_path / "core.yaml"
    file.write_text(shown)

    (config,) = read_experiment(file).runs

    assert config.name == "fib25-affinities"
    assert is_part_of(yaml.safe_load(shown), yaml.safe_load(EXAMPLE.read_text()))


def test_getting_started_shows_the_example() -> None:
    """Its experiment is the file that the commands submit."""
    assert blocks_of(ROOT / "docs" / "getting-started.md", "yaml") == [EXAMPLE.read_text()]


@pytest.mark.parametrize("page", PAGES[1:], ids=name_of)
def test_shown_values_are_valid(page: Path) -> None:
    """An excerpt of YAML in docs/ makes a valid experiment together with the example."""
    for shown in blocks_of(page, "yaml"):
        if file_name(shown) is None and page.name != "getting-started.md":
            values = yaml.safe_load(shown)
            values.pop("datasets", None)  # tested below: their paths start at the example
            overrides = [f"{key}={json.dumps(value)}" for key, value in values.items()]
            assert read_experiment(EXAMPLE, [*overrides, "trainer.batch_size=8"]).runs


def test_shown_errors_are_those_of_the_example_with_typos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong kind and a misspelled key in the example lead to the lines of the page."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "data").symlink_to(ROOT / "examples" / "data")
    text = EXAMPLE.read_text().replace("kind: unet\n", "kind: unett\n")
    broken = Path("examples", "fib25.yaml")
    broken.write_text(text.replace("learning_rate: 2.0e-3", "learning_rat: 2.0e-3"))
    (shown,) = blocks_of(ROOT / "docs" / "getting-started.md", "")

    with pytest.raises(ConfigError) as caught:
        read_experiment(broken)

    lines = str(caught.value).splitlines()
    for found, expected in zip(lines, shown.splitlines(), strict=True):
        assert found.startswith(expected.removesuffix("…"))


def test_data_shows_the_datasets_of_the_example() -> None:
    """The first datasets of docs/data.md are those of the example; the others are valid too."""
    shown, overridden = map(yaml.safe_load, blocks_of(ROOT / "docs" / "data.md", "yaml"))

    assert is_part_of(shown, yaml.safe_load(EXAMPLE.read_text()))
    assert [from_plain(DatasetConfig, each).name for each in overridden["datasets"]]


def test_own_parts_names_all_that_an_augment_may_define() -> None:
    """The contract has every public method of `AugmentConfig`, with its parameters."""
    text = (ROOT / "docs" / "own-parts.md").read_text()

    for name, method in inspect.getmembers(AugmentConfig, inspect.isfunction):
        if not name.startswith("_"):
            _, *parameters = inspect.signature(method).parameters
            assert f"`{name}({', '.join(parameters)})`" in text


@pytest.mark.slow
def test_quickstart_finds_the_resumed_run_equal() -> None:
    """`scripts/quickstart` ends with the verdict that README shows."""
    verdict = "The stopped run is the same run, bit for bit.\n"
    done = subprocess.run(
        ROOT / "scripts" / "quickstart", stdout=subprocess.PIPE, text=True, check=True
    )

    assert done.stdout.endswith(verdict)
    assert verdict in PAGES[0].read_text()


@pytest.mark.slow
@pytest.mark.parametrize("page", with_something_to_run(), ids=name_of)
def test_everything_on_a_page_works(page: Path, tmp_path: Path) -> None:
    """Commands and Python code succeed one after the other, and leave what the page says."""
    for name in ("examples", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)

    for language, text in blocks(page):
        if language in ("python", "yaml") and (name := file_name(text)):
            (tmp_path / name).write_text(text)
        elif language == "python":
            subprocess.run([sys.executable, "-c", text], cwd=tmp_path, check=True)
        elif language == "bash":
            for command in filter(is_tried_here, commands(text)):
                run(command, tmp_path)
                if command.startswith("launch cancel"):
                    wait_until_nothing_runs(tmp_path)

    if (tmp_path / "experiments").exists():
        assert states(tmp_path) == STATES[page.name]
    else:
        assert page.name not in STATES
    for name in LEFT_BY.get(page.name, ()):
        assert (tmp_path / name).stat().st_size > 0
    if page.name in WITH_A_PICTURE:
        assert (tmp_path / "snapshot.png").read_bytes().startswith(b"\x89PNG")
