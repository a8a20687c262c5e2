"""Imports go from tests to scripts to the launcher to the trainers, never back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts.workloads.checkout import ROOT
from tests.scripts.scripts import imported_packages, is_python

ABOVE = {
    "scripts": {"tests"},
    "launcher": {"tests", "scripts"},
    "trainers": {"tests", "scripts", "launcher"},
}


def programs(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and is_python(path)]


@pytest.mark.parametrize("package", ABOVE)
def test_nothing_is_imported_from_above(package: str) -> None:
    """Not even within a function, nor by a script whose name has no ending."""
    files = programs(ROOT / package)

    found = {path: ABOVE[package] & set(imported_packages(path)) for path in files}

    assert len(files) > 50
    assert {str(path): names for path, names in found.items() if names} == {}


def test_the_sandbox_imports_the_standard_library_only() -> None:
    """It runs with the system's Python."""
    files = [ROOT / "scripts" / "slurm-sandbox", *programs(ROOT / "scripts" / "slurm_sandbox")]

    found = {name for path in files for name in imported_packages(path)}

    assert found <= {*sys.stdlib_module_names, "scripts"}
