"""The source of a run's initial weights. Light: the launcher checks it before it submits."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from trainers.checkpoints.layout import DAMAGED_PREFIX, MANIFEST_NAME, folder_name, iterations_in
from trainers.errors import ConfigError
from trainers.run.run_folder import RunFolder

_ALLOWED = (
    "must be the folder of a run, for its newest whole checkpoint, or that of one checkpoint, such "
    f"as RUN/checkpoints/{folder_name(1000)}"
)


@frozen
class WeightsSource:
    """A checkpoint, or the newest one of a run."""

    checkpoints: Path
    """The folder of the run's checkpoints."""
    iteration: int | None
    """None for the newest whole one."""


def find_weights(path: Path) -> WeightsSource:
    """Return the checkpoint, or the run, that `init_from` names.

    Raises:
        ConfigError: It is neither; the message says what it is.
    """
    run = RunFolder(path)
    if run.config.is_file() or run.checkpoints.is_dir():
        return WeightsSource(run.checkpoints, None)
    iterations = iterations_in([path.name])
    if iterations and (path / MANIFEST_NAME).is_file():
        return WeightsSource(path.parent, iterations[0])
    raise ConfigError(f"init_from: found {path}, {_description(path)}; {_ALLOWED}")


def _description(path: Path) -> str:
    if not path.exists():
        return "which does not exist"
    if not path.is_dir():
        return "which is not a directory"
    runs = [each.parent.name for each in sorted((path / "runs").glob("*/config.yaml"))]
    if runs:
        return f"an experiment; give one of its runs, in {path / 'runs'}: {', '.join(runs[:10])}"
    if path.name.startswith(DAMAGED_PREFIX):
        return "which is damaged and was set aside"
    if iterations_in([path.name]):
        return f"which has no {MANIFEST_NAME} and so is no whole checkpoint"
    if iterations := iterations_in(each.name for each in path.iterdir()):
        return f"which holds checkpoints; give one of them, such as {folder_name(iterations[-1])}"
    return "which holds neither"
