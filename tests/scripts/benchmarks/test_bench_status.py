"""The benchmark of `launch status`."""

import subprocess
import sys

import pytest

from scripts.workloads.checkout import ROOT

SCRIPT = ROOT / "scripts" / "benchmarks" / "bench-status"


@pytest.mark.slow
def test_each_way_of_looking_has_its_seconds():
    """A few runs are quick to look at."""
    done = subprocess.run(
        [sys.executable, SCRIPT, "--runs=16", "--repeats=1"], capture_output=True, text=True
    )

    assert done.returncode in (0, 1), done.stderr  # a busy machine is slow
    lines = done.stdout.splitlines()
    assert lines[0].startswith("16 runs, load ")
    assert sum("launch status " in line for line in lines) == 5
