"""What README says about clusters is so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_readme import ON_A_CLUSTER, README, ROOT, commands

pytestmark = pytest.mark.slurm


def test_the_placement_is_as_shown(sandbox, tmp_path):
    """The commands succeed, and the nodes of the sandbox lead to the table of README."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    printed = ""
    for command in commands():
        if ON_A_CLUSTER in command:
            printed += subprocess.run(
                ["bash", "-c", command],
                cwd=tmp_path,
                env={**os.environ, "PATH": path},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout

    assert printed
    assert printed in README
