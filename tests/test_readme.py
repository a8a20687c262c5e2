"""What README says is so."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ONCE_IN_THE_CHECKOUT = ("scripts/quickstart",)
"""It makes .venv, and writes into a folder of its own."""
RUNNING_NOW = ("scripts/test",)
ON_A_CLUSTER = "--cluster slurm"
"""They are tried in tests/slurm."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Every command of the README, in order."""
    lines = "".join(blocks("bash")).splitlines()
    return [line.split("  #")[0].strip() for line in lines]


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)]+)\)", README))
def test_link_leads_somewhere(target: str) -> None:
    """Every relative link names a file or folder of the repository."""
    assert (ROOT / target).exists()


def test_experiment_is_the_example() -> None:
    """The experiment file that README shows is the one that its commands submit."""
    assert blocks("yaml") == [(ROOT / "examples" / "fib25.yaml").read_text()]


@pytest.mark.slow
def test_quickstart_finds_the_resumed_run_equal() -> None:
    """`scripts/quickstart` ends with the verdict that README shows."""
    done = subprocess.run(
        ROOT / "scripts" / "quickstart", stdout=subprocess.PIPE, text=True, check=True
    )

    assert done.stdout.endswith("The stopped run is the same run, bit for bit.\n")


@pytest.mark.slow
def test_every_command_works(tmp_path: Path) -> None:
    """The commands succeed one after the other, and leave what README says."""
    for name in ("examples", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    elsewhere = (*ONCE_IN_THE_CHECKOUT, *RUNNING_NOW)
    here = [each for each in commands() if each not in elsewhere and ON_A_CLUSTER not in each]

    for command in here:
        run(command, tmp_path)
        if command.startswith("launch cancel"):
            wait_until_nothing_runs(tmp_path)
    for code in blocks("python"):
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)

    assert (tmp_path / "snapshot.png").read_bytes().startswith(b"\x89PNG")
    assert states(tmp_path) == dict.fromkeys(("fib25-affinities", "debugged", "tuned"), "finished")


def run(command: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def states(folder: Path) -> dict[str, str]:
    return {each["name"]: each["state"] for each in json.loads(run("launch status --json", folder))}


def wait_until_nothing_runs(folder: Path) -> None:
    while "running" in states(folder).values():
        time.sleep(0.5)
