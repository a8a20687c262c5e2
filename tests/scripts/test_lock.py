"""scripts/lock: what the resolutions of scripts/test ask for."""

import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

from scripts.workloads.checkout import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements(resolution):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "lock", "--requirements", resolution],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {each.name: each for each in map(Requirement, done.stdout.splitlines())}


def test_the_highest_resolution_asks_for_the_ranges():
    """Of what runs need and of what tests need; torch is not held."""
    found = requirements("highest")

    assert found["numpy"].specifier == Requirement("numpy>=2.1.2").specifier
    assert {"hatchling", "attrs", "torch", "pytest", "moto"} <= set(found)
    assert str(found["torch"]) == "torch>=2.13"


def test_the_lowest_resolution_asks_for_the_beginning_of_each_range():
    """Ends of ranges, extras and all stay."""
    found = requirements("lowest-direct")

    assert str(found["numpy"]) == "numpy==2.1.2"
    assert str(found["moto"]) == "moto[s3]==5.1"
    assert found["wandb-workspaces"].specifier.contains("0.4.13")
    assert not found["wandb-workspaces"].specifier.contains("0.4.14")
    assert set(found) == set(requirements("highest"))


@pytest.mark.parametrize(
    "text",
    [
        *PROJECT["project"]["dependencies"],
        *(each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra),
        *PROJECT["dependency-groups"]["dev"],
    ],
)
def test_every_dependency_says_where_its_range_begins(text):
    """Without that there is no lowest version to try."""
    assert [each for each in Requirement(text).specifier if each.operator == ">="]
