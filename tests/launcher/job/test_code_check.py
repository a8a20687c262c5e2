"""Code that was not submitted does not run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import launcher
from launcher.errors import LauncherError
from launcher.experiment.code_snapshot import write_snapshot
from launcher.experiment.collect_code import collect_code
from launcher.job.code_check import verify_submitted_code

CHECK = """
import sys
from pathlib import Path
from launcher.job.code_check import verify_submitted_code
verify_submitted_code(Path(sys.argv[1]))
"""


def test_another_copy_is_refused(tmp_path):
    """As where nothing that the batch script exports arrives in the step."""
    snapshot = write_snapshot(tmp_path / "code", collect_code(tmp_path / "code", []))

    with pytest.raises(LauncherError) as caught:
        verify_submitted_code(snapshot.path)

    home = Path(launcher.__file__).parent
    assert f"the job imports launcher from {home}, and not what was submitted" in str(caught.value)


def test_the_copy_itself_is_taken(tmp_path):
    """Also if its path leads over a link."""
    snapshot = write_snapshot(tmp_path / "code", collect_code(tmp_path / "code", []))
    (tmp_path / "link").symlink_to(tmp_path)
    packages = tmp_path / "link" / "code" / snapshot.name / "packages"

    subprocess.run(
        [sys.executable, "-c", CHECK, str(snapshot.path)],
        env={**os.environ, "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        check=True,
    )
