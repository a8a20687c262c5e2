"""What `scripts/show-structure` counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.workloads.checkout import ROOT

SCRIPT = ROOT / "scripts" / "show-structure"
PYPROJECT = """\
[[tool.importlinter.contracts]]
type = "layers"
containers = ["trainers"]
layers = ["loop", "data | nets", "errors"]
"""
FILES = {
    "launcher/__init__.py": "",
    "launcher/cli.py": "from trainers import loop\n" + "\n" * 299,
    "trainers/__init__.py": "",
    "trainers/__main__.py": "",
    "trainers/errors.py": "def fail():\n    from trainers.loop import step\n",
    "trainers/loop.py": "from trainers.data.volume import read\ndef step(fence, *, other): ...\n",
    "trainers/data/__init__.py": "",
    "trainers/data/volume.py": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import trainers.loop\n"
        "from ..nets import unet\n"
    ),
    "trainers/nets/__init__.py": "",
    "trainers/nets/unet.py": "import trainers.data.volume\nfrom trainers.loop import step\n",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in {**FILES, "pyproject.toml": PYPROJECT}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def figures(root: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPT), "--json", f"--root={root}", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_modules_are_counted_without_init(checkout: Path) -> None:
    """A module of 300 lines is not long; `__main__` is a module, but not a loose one."""
    found = figures(checkout)

    assert found["modules"] == 6
    assert found["long"] == []
    assert len(found["short"]) == 5
    assert found["loose"] == ["trainers.errors", "trainers.loop"]
    assert found["loose_with_init_and_main"] == 4


def test_imports_that_run_up_are_told_apart(checkout: Path) -> None:
    """Those within functions are apart, those of type checkers do not count, siblings may."""
    found = figures(checkout)

    assert found["up_at_once"] == ["trainers.nets.unet -> trainers.loop"]
    assert found["up_later"] == ["trainers.errors -> trainers.loop"]


def test_an_order_can_be_given(checkout: Path, tmp_path: Path) -> None:
    """For a checkout whose folders had other names."""
    order = tmp_path / "order.txt"
    order.write_text("# the highest first\ntrainers.data | trainers.nets\ntrainers.loop\n")

    found = figures(checkout, "--order", str(order))

    assert found["up_at_once"] == ["trainers.loop -> trainers.data.volume"]
    assert found["up_later"] == []


def test_circles_of_modules_and_of_folders(checkout: Path) -> None:
    """All that reach each other are one circle; a loose module is by itself."""
    found = figures(checkout)

    modules = ["trainers.data.volume", "trainers.loop", "trainers.nets.unet"]
    assert found["circles_of_modules_at_once"] == [modules]
    assert found["circles_of_folders_at_once"] == [
        ["trainers.data", "trainers.loop", "trainers.nets"]
    ]


def test_parameters_are_found_by_name(checkout: Path) -> None:
    """Keyword-only ones as well."""
    assert figures(checkout)["fence_parameters"] == {"trainers.loop": 1}


@pytest.mark.slow
def test_a_submission_and_a_step_are_traced() -> None:
    """This checkout's own: each enters some files, and a real submission more than a dry one."""
    found = figures(ROOT, "--trace")["trace"]

    dry, real = (set(found[name]) for name in ("submission, --dry-run", "submission"))
    saved, ended = (
        set(found[f"{name}, dummy"]) for name in ("saved step", "saved step and end of process")
    )
    assert "trainers/dummy_trainer.py" in saved
    assert 10 < len(saved) <= len(ended)
    assert 10 < len(dry) < len(real)
    assert not any("gunpowder" in file for file in saved)
    assert any("gunpowder" in file for file in found["saved step, gunpowder"])
