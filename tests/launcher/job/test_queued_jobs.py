"""Jobs that are in the queue find what they call, whatever has become of the code around it."""

import pickle
import subprocess
import sys

from launcher.job.pack_job import run_pack


def test_a_pickled_job_finds_its_entry_point() -> None:
    """submitit has pickled it by this name: it is on disk in every experiment."""
    assert pickle.loads(b"clauncher.job.pack_job\nrun_pack\n.") is run_pack
    assert pickle.loads(pickle.dumps(run_pack)) is run_pack


def test_a_batch_script_finds_its_last_command(tmp_path) -> None:
    """It runs `python -m launcher.job.batch_end PACK_FOLDER STATUS` after a step was killed."""
    command = [sys.executable, "-m", "launcher.job.batch_end", tmp_path / "pack-0000", "137"]

    done = subprocess.run(command, capture_output=True, text=True)

    assert "pack.json" in done.stderr, done.stderr  # it looks for the pack, which is not there
