import json
import subprocess
import sys

import attrs
import pytest

from scripts.benchmarks.bench_hangs.hang_cases import Ending
from scripts.workloads.checkout import ROOT
from trainers import exit_codes

RIGHT = Ending(
    section="step",
    slowest_s=16.0,
    seconds=80.5,
    exit_code=exit_codes.HANG,
    must_exit=exit_codes.HANG,
    is_named=True,
    last_line="",
)


@pytest.mark.parametrize(
    ("changes", "is_right"),
    [
        ({}, True),
        ({"seconds": None}, False),
        ({"seconds": 86.0}, False),
        ({"seconds": 60.5}, False),
        ({"seconds": 60.5, "slowest_s": 1.0}, True),
        ({"exit_code": exit_codes.FAILED}, False),
        ({"is_named": False}, False),
    ],
)
def test_a_hang_must_end_in_time_with_its_code_and_its_section(changes, is_right):
    """Neither later nor earlier than five times the slowest section, or a minute."""
    assert attrs.evolve(RIGHT, **changes).is_right is is_right


@pytest.mark.slow
def test_a_step_that_hangs_is_ended():
    """Whether in time is for who runs it on purpose."""
    script = str(ROOT / "scripts" / "benchmarks" / "bench-hangs")

    done = subprocess.run(
        [sys.executable, script, "step", "--json"], capture_output=True, text=True
    )

    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout.splitlines()[-1])["step"]
    assert (found["exit_code"], found["is_named"]) == (exit_codes.HANG, True)
