import subprocess
import sys

import pytest

HEAVY = ("gunpowder", "numba", "numpy", "scipy", "tensorstore", "torch", "wandb", "zarr")
LIGHT = (
    "launcher.cli",
    "launcher.experiment.experiment",
    "trainers",
    "trainers.architectures",
    "trainers.config_io",
    "trainers.datasets",
    "trainers.datasets.fit",
    "trainers.gp_augments",
    "trainers.gunpowder_trainer_config",
    "trainers.lease",
    "trainers.optimizers",
    "trainers.run_config",
    "trainers.tasks",
)


@pytest.mark.parametrize("module", LIGHT)
def test_login_node_stays_light(module: str) -> None:
    """The launcher and the config half of the trainers load no part of a training stack."""
    code = f"import sys, {module}; print(*set({HEAVY}) & set(sys.modules))"

    found = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()

    assert found == []
