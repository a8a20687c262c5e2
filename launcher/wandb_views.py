"""Have a process of its own make something at W&B: its client is heavy, and may hang.

The process is `python -m trainers.metrics.wandb_views`; credentials are W&B's own and not passed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import trainers
from launcher.errors import LauncherError

_PACKAGES = ("wandb", "wandb-workspaces")
EXTRA = "pip install 'launch-trainers[dashboards]'"


def make_view(kind: str, request: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """Have a view made at W&B, and return what is said about it.

    Args:
        kind: `dashboard` or `report`.
        request: See `trainers.metrics.wandb_views`.
        timeout_s: The process is killed after it.

    Raises:
        LauncherError: There is no answer; the message says why, without any secret.
        OSError: The process cannot be started.
    """
    missing = [name for name in _PACKAGES if not _is_installed(name)]
    if missing:
        raise LauncherError(f"{' and '.join(missing)} is not installed here; `{EXTRA}` installs it")
    paths = [str(Path(trainers.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    with (
        tempfile.TemporaryDirectory(prefix="launch-wandb-") as folder,
        subprocess.Popen(
            [sys.executable, "-m", "trainers.metrics.wandb_views", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may have anything
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            cwd=folder,  # W&B's client writes files
            start_new_session=True,  # no terminal to ask for a key
            text=True,
        ) as process,
    ):
        try:
            output, _ = process.communicate(json.dumps(request), timeout=timeout_s)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise LauncherError(f"W&B does not answer within {timeout_s:.2g} s") from None
            raise
    try:
        answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        raise LauncherError(
            f"`python -m trainers.metrics.wandb_views {kind}` ended with exit code "
            f"{process.returncode} and said nothing"
        ) from None
    if problem := answer.get("problem"):
        raise LauncherError(str(problem))
    return answer


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name.replace("-", "_")) is not None
    except (ImportError, ValueError):
        return False
