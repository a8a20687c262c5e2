import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.workloads.checkout import ROOT

SCRIPT = ROOT / "scripts" / "benchmarks" / "bench-checkpoint"
TIMES = {
    "memcpy_s",
    "stall_s",
    "durable_s",
    "raw_fsync_s",
    "dcp_stall_s",
    "dcp_durable_s",
    "restore_s",
    "raw_read_s",
}


@pytest.mark.slow
def test_the_benchmark_ends_with_its_times(tmp_path: Path) -> None:
    """The last line is JSON, with all times of each size; nothing is left on the disk."""
    options = ["--json", "--sizes", "1", "2", "--repeats", "1", "--folder", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, SCRIPT, *options], capture_output=True, text=True, timeout=300
    )

    assert done.returncode in (0, 1), done.stderr  # so small ones need not be quick
    times = json.loads(done.stdout.splitlines()[-1])
    assert list(times) == ["1", "2"]
    for each in times.values():
        assert each.keys() == TIMES
        assert all(seconds > 0 for seconds in each.values())
    assert "loading, round 1 of 1" in done.stdout
    assert list(tmp_path.iterdir()) == []
