"""Find runs by what a user types: folders, names of experiments and runs, and patterns of names."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from launcher.errors import LauncherError, suggestions
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.os_errors import PatientReader, doing, sentence
from launcher.tables import first_names
from trainers.config.config_io import read_run_config
from trainers.config.run_config import RunConfig
from trainers.errors import ConfigError
from trainers.run.run_folder import RunFolder

_logger = logging.getLogger(__name__)

_MAX_LISTED = 8


def find_targets(targets: Sequence[str | Path], root: Path) -> list[RunFolder]:
    """Return the runs that some words stand for, each once; those of the root without any word.

    A word is the folder of a run, of an experiment or of experiments; otherwise the name of an
    experiment in the root, or else of a run in it, as RUN or EXPERIMENT/RUN. All may be patterns.

    Args:
        root: The folder of experiments in which names are looked up.

    Raises:
        LauncherError: A word stands for nothing; the message lists the available names.
        OSError: A folder cannot be read; see `find_runs`.
    """
    if not targets:
        return find_runs(root.absolute())
    found = [run for target in targets for run in _Target(str(target), root).runs()]
    return list(dict.fromkeys(found))


def find_run(text: str, root: Path) -> RunFolder:
    """Return the one run that a word stands for: see `find_targets`.

    Unlike there, a run comes before an experiment of the same name, which may hold several.

    Raises:
        LauncherError: No run matches, or several do; the message lists the available ones.
    """
    found = _Target(text, root).runs(is_run_first=True)
    if len(found) == 1:
        return found[0]
    names = first_names([f"{_experiment_of(run)}/{run.name}" for run in found], _MAX_LISTED)
    raise LauncherError(f"{text!r} stands for {len(found)} runs; give one of: {names}")


class _Target:
    """One word of a command line."""

    def __init__(self, text: str, root: Path) -> None:
        self._text = text
        self._root = root

    def runs(self, *, is_run_first: bool = False) -> list[RunFolder]:
        path, problem = Path(self._text).absolute(), None
        with doing("looking for runs", path):
            is_path = PatientReader().read(path.exists)
        try:
            if is_path:
                return find_runs(path)
        except LauncherError as error:  # a folder, yet none of runs: the word may be a name as well
            problem = error
        found = self._named(is_run_first=is_run_first) or self._below_matching_folders()
        if not found:
            raise problem or self._refusal()
        return found

    def _below_matching_folders(self) -> list[RunFolder]:
        if not glob.has_magic(self._text):
            return []
        # Path.glob refuses absolute patterns.
        matches = sorted(Path(each).absolute() for each in glob.glob(self._text))  # noqa: PTH207
        return [run for each in matches if each.is_dir() for run in find_runs(each)]

    def _named(self, *, is_run_first: bool) -> list[RunFolder]:
        runs = _runs_in(self._root)
        experiments = [run for run in runs if self._matches(_experiment_of(run))]
        named = [run for run in runs if self._matches(run.name) or self._matches_both(run)]
        return (named or experiments) if is_run_first else (experiments or named)

    def _matches(self, name: str) -> bool:
        return _matches(name, self._text)

    def _matches_both(self, run: RunFolder) -> bool:
        """Return whether EXPERIMENT/RUN matches; a pattern does not cross the slash."""
        experiment, slash, name = self._text.partition("/")
        return (
            bool(slash) and _matches(_experiment_of(run), experiment) and _matches(run.name, name)
        )

    def _refusal(self) -> LauncherError:
        runs = _runs_in(self._root)
        names = dict.fromkeys([*map(_experiment_of, runs), *(run.name for run in runs)])
        if not names:
            return LauncherError(
                f"no run or experiment {self._text!r}: {self._root} holds none. Give a folder, or "
                "change to where `launch submit` was started"
            )
        what = suggestions(self._text, names, most=_MAX_LISTED)
        return LauncherError(
            f"no run or experiment {self._text!r} in {self._root}; {what}. Or give a folder."
        )


def _matches(name: str, text: str) -> bool:
    return name == text or (glob.has_magic(text) and fnmatchcase(name, text))


def config_or_none(run: RunFolder) -> RunConfig | None:
    """Return the resolved config of a run; None if it is missing, not valid, or cannot be read."""
    try:
        return read_run_config(run.config)
    except (ConfigError, OSError):
        return None


def find_runs(path: Path) -> list[RunFolder]:
    """Return the runs below a root, experiment or run folder, sorted by name.

    An experiment below a root that cannot be read is left out; a logged warning names it, which the
    command prints to stderr.

    Raises:
        LauncherError: There are none.
        OSError: The folder cannot be read, or none of the experiments in it.
    """
    reader = PatientReader()
    experiments = [ExperimentFolder(path)]
    runs: list[RunFolder] = []
    unreadable: list[OSError] = []
    with doing("looking for runs", path):
        if reader.read(lambda: (path / "config.yaml").exists() or (path / "state.json").exists()):
            return [RunFolder(path)]
        if reader.read(lambda: path.is_dir() and not experiments[0].runs.is_dir()):
            names = reader.read(lambda: _folders_in(path))
            experiments = [ExperimentFolder(path / name) for name in names]
    for experiment in experiments:
        try:
            with doing("looking for runs", experiment.path):
                runs += reader.read(partial(_runs_of, experiment))
        except OSError as error:
            unreadable.append(error)
    if unreadable and not runs:
        raise unreadable[0]
    for each in unreadable:
        _logger.warning("left out: %s", sentence(each))
    if not runs:
        what = "holds no runs" if path.is_dir() else "is not a directory"
        raise LauncherError(
            f"{path} {what}; give the folder of a run, of an experiment, or the root folder of "
            "`launch submit` (./experiments unless --root says otherwise)"
        )
    return runs


def _runs_in(root: Path) -> list[RunFolder]:
    """Return the runs below a root; none if it has none, or is missing."""
    try:
        return find_runs(root.absolute())
    except LauncherError:
        return []


def _experiment_of(run: RunFolder) -> str:
    return run.path.parent.parent.name


def _runs_of(experiment: ExperimentFolder) -> list[RunFolder]:
    """Return the runs of an experiment; none if the folder is not an experiment."""
    return [experiment.run(name) for name in _folders_in(experiment.runs)]


def _folders_in(path: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted; hidden ones are unfinished."""
    try:
        with os.scandir(path) as entries:
            return sorted(
                entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")
            )
    except (FileNotFoundError, NotADirectoryError):
        return []
