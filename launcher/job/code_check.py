"""Whether the code that was submitted is the code that runs in a job."""

from __future__ import annotations

from pathlib import Path

import launcher
import trainers
from launcher.errors import LauncherError
from launcher.experiment.code_snapshot import CodeSnapshot, verify_snapshot


def verify_submitted_code(path: Path) -> None:
    """Check that a snapshot is whole, and that this process has imported our packages from it.

    What the batch script exports may not have arrived here, or the site's Python may put other
    folders first: then installed packages run, of another version perhaps.

    Raises:
        LauncherError: It was changed, or another copy was imported.
        OSError: It cannot be read at present.
    """
    verify_snapshot(path)
    packages = CodeSnapshot(path=path, python_path={}).packages.resolve()
    for package in (launcher, trainers):
        (found,) = package.__path__
        if Path(found).resolve().parent != packages:
            raise LauncherError(
                f"the job imports {package.__name__} from {found}, and not what was submitted, "
                f"from {packages}: PYTHONPATH does not arrive in the job, or something goes before "
                "it. Remove what changes sys.path or how Python is started (a .pth file, "
                "sitecustomize, PYTHONHOME, a wrapper of srun), then submit again"
            )
