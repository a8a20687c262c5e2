"""Find one run by its folder or its name, and read its config."""

from __future__ import annotations

from pathlib import Path

from launcher.errors import LauncherError, suggestions
from launcher.monitor.status import find_runs
from trainers.config.config_io import read_run_config
from trainers.config.run_config import RunConfig
from trainers.errors import ConfigError
from trainers.run.run_folder import RunFolder


def find_run(text: str, root: Path) -> RunFolder:
    """Return the run in a folder, or the run called RUN or EXPERIMENT/RUN.

    Args:
        text: The path of a folder, or a name.
        root: The folder of experiments in which names are looked up.

    Raises:
        LauncherError: No run matches, or several do; the message lists the available ones.
    """
    below = _runs_below(Path(text).absolute())
    if below:
        return _only(text, below)
    runs = _runs_below(root.absolute())
    named = {run: f"{run.path.parent.parent.name}/{run.name}" for run in runs}
    found = [run for run, name in named.items() if text in (run.name, name)]
    if not found:
        what = suggestions(text, dict.fromkeys(run.name for run in runs))
        raise LauncherError(f"no run {text!r} in {root}; {what}. Or give the folder of a run.")
    if len(found) > 1:
        several = ", ".join(named[run] for run in found)
        raise LauncherError(f"{text!r} is the name of {len(found)} runs; give one of: {several}")
    return found[0]


def config_or_none(run: RunFolder) -> RunConfig | None:
    """Return the resolved config of a run; None if it is missing, not valid, or cannot be read."""
    try:
        return read_run_config(run.config)
    except (ConfigError, OSError):
        return None


def _runs_below(path: Path) -> list[RunFolder]:
    try:
        return find_runs(path)
    except LauncherError:
        return []


def _only(text: str, runs: list[RunFolder]) -> RunFolder:
    if len(runs) == 1:
        return runs[0]
    known = suggestions("", [run.name for run in runs])
    raise LauncherError(f"{text} holds {len(runs)} runs; give the folder of one; {known}")
