"""Where libraries write beside the run folder: caches in the home, and temporary files.

Compute nodes may have a home that is missing, read-only, or of no known user, and a dead /tmp.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from trainers.errors import NodeFaultError
from trainers.run.run_folder import RunFolder

_CACHES = {
    "XDG_CACHE_HOME": "",  # ours and torch's
    "XDG_CONFIG_HOME": "config",
    "NUMBA_CACHE_DIR": "numba",
    "TRITON_CACHE_DIR": "triton",
    "CUDA_CACHE_PATH": "cuda",
    "MPLCONFIGDIR": "matplotlib",
    "WANDB_CACHE_DIR": "wandb",
    "WANDB_CONFIG_DIR": "wandb",
    "WANDB_DATA_DIR": "wandb",
}
"""By variable, the folder below that of the run's caches."""


def prepare_folders(folder: RunFolder) -> None:
    """Let libraries keep their caches in the run folder where the home is of no use.

    Call it before they are imported: they read the variables then. Processes that are started later
    inherit them.

    Raises:
        NodeFaultError: Temporary files cannot be written.
    """
    os.environ.update(variables_for_caches(folder.caches))
    _check_temporary_folder()


def variables_for_caches(to: Path) -> dict[str, str]:
    """Return the variables to set in this environment; see `cache_variables`."""
    return cache_variables(os.environ, _home(), to)


def cache_variables(environment: Mapping[str, str], home: Path | None, to: Path) -> dict[str, str]:
    """Return the variables to set so that caches lie in a folder; those that are set stay.

    Args:
        home: None if there is none: no HOME, and a user without a name.
    """
    if home and home.is_dir() and os.access(home, os.W_OK | os.X_OK):
        return {}
    variables = {name: str(to / part) for name, part in _CACHES.items()}
    if home is None:
        # `Path.home()` and `getpass.getuser()` raise without, in W&B for one.
        variables |= {"HOME": str(to), "USER": str(os.getuid())}
    return {name: value for name, value in variables.items() if name not in environment}


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _check_temporary_folder() -> None:
    try:
        found = Path(tempfile.gettempdir())  # tries to write, in each candidate
    except FileNotFoundError as error:
        raise _unusable() from error
    if found == Path.cwd() and str(found) not in ("/tmp", "/var/tmp", os.environ.get("TMPDIR")):
        raise _unusable()  # Python's last resort


def _unusable() -> NodeFaultError:
    places = ", ".join(dict.fromkeys(filter(None, (os.environ.get("TMPDIR"), "/tmp", "/var/tmp"))))
    return NodeFaultError(
        f"{os.uname().nodename} has no usable temporary folder, among {places}: each is full, "
        "read-only or missing. It is tried again elsewhere; if all nodes are so, set TMPDIR in the "
        "cluster config (environment)"
    )
