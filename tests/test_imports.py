import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from scripts.workloads.checkout import ROOT

BROUGHT_ALONG = {"cloudpickle", "setuptools", "typing_extensions"}
"""By submitit, cattrs, and a virtual environment's own start."""
LOADED_WHEN_NEEDED = {"rich"}
"""For a terminal: no other command waits for it."""
HEAVY = {"gunpowder", "numba", "numpy", "scipy", "tensorstore", "torch", "wandb", "zarr"}
LIGHT = (
    "launcher.cli",
    "launcher.experiment.experiment",
    "launcher.monitor.checkpoints",
    "trainers",
    "trainers.__main__",
    "trainers.architectures",
    "trainers.checkpoints.verification",
    "trainers.config.config_io",
    "trainers.datasets",
    "trainers.datasets.compatibility",
    "trainers.training.startup",
    "trainers.gp_augments",
    "trainers.gunpowder_trainer_config",
    "trainers.run.lease",
    "trainers.optimizers",
    "trainers.config.run_config",
    "trainers.tasks",
    "trainers.weights.weights_report",
    "trainers.weights.weights_source",
)


@pytest.mark.parametrize("module", LIGHT)
def test_login_node_stays_light(module: str) -> None:
    """The launcher and the config half of the trainers load no part of a training stack."""
    assert loaded_by(module) & HEAVY == set()


@pytest.mark.slow
def test_a_trainer_with_data_workers_leaves_gunpowder_to_them() -> None:
    """Its own process starts a second earlier for it."""
    loaded = loaded_by("trainers.training.training_run", "trainers.gunpowder_trainer")

    assert loaded & HEAVY == {"numpy", "tensorstore", "torch"}


def loaded_by(*modules: str) -> set[str]:
    """Names of all modules that a process has that imports these."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    return set(done.stdout.split())


def test_help_waits_for_no_table() -> None:
    """What draws in a terminal is loaded by the commands that draw."""
    assert "rich" not in loaded_by("launcher.cli", "launcher.monitor.status_table")


def test_a_login_node_has_all_that_the_launcher_imports():
    """The base dependencies, and what these bring along, are enough for every command."""
    code = """
import importlib, pkgutil, sys, launcher
for module in pkgutil.walk_packages(launcher.__path__, "launcher."):
    importlib.import_module(module.name)
print(*{name.partition(".")[0] for name in sys.modules})
"""
    loaded = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    owners = packages_distributions()

    found = {owner for name in loaded for owner in owners.get(name, ())}

    base = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    named = {re.split("[<>=]", each)[0] for each in base}
    assert {each.lower() for each in found} - named <= BROUGHT_ALONG
    assert named - LOADED_WHEN_NEEDED <= {each.lower() for each in found}
