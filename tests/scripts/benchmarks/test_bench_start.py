import json
import subprocess
import sys

import pytest

from scripts.workloads.checkout import ROOT

SCRIPT = ROOT / "scripts" / "benchmarks" / "bench-start"


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--trainer=dummy",), ("--wandb=offline", "--cold")])
def test_the_parts_of_a_start_make_up_the_whole(options):
    """With a small checkpoint; whether the target is met is for who runs it on purpose."""
    command = [sys.executable, SCRIPT, "--size-mb=5", "--rounds=1", "--json", *options]

    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert sum(found["parts"].values()) == pytest.approx(found["total"], abs=0.01)
    assert found["rest"] == pytest.approx(found["total"] - found["imports"])
    assert done.returncode == (found["rest"] > found["target"])
