"""The code of a submission to Slurm: what is copied, what is not, and where runs import it from."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from launcher.experiment.code_snapshot import CodeSnapshot, CollectedCode
from launcher.experiment.collect_code import collect_code
from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.experiment.own_packages import import_paths
from launcher.submission.plan import PlannedRun
from launcher.tables import first_names

_MAX_NAMED = 5
"""Files that a notice names."""


def code_of(folder: ExperimentFolder, due: Sequence[PlannedRun]) -> CollectedCode:
    """Read the code once for all runs: runs of one experiment share the folders of user modules.

    Raises:
        LauncherError: There is too much in a folder.
    """
    configs = [run.config for run in due]
    return collect_code(
        folder.code,
        list(dict.fromkeys(path for config in configs for path in config.python_path)),
        import_paths=[path for config in configs for _, path in import_paths(config)],
        include=list(dict.fromkeys(each for config in configs for each in config.code_include)),
    )


def with_snapshot(run: PlannedRun, code: CodeSnapshot) -> PlannedRun:
    """Return the run with its user modules imported from the snapshot."""
    python_path = code.copies_of(run.config.python_path)
    return attrs.evolve(run, config=attrs.evolve(run.config, python_path=python_path))


def code_notices(code: CollectedCode) -> list[str]:
    """Return what the jobs import from elsewhere than expected, and what they will not find."""
    found = list(code.doubts)
    if code.own_packages:
        names = first_names(code.own_packages, _MAX_NAMED)
        found.append(f"copied with the code, as they may be edited where they lie: {names}")
    if code.installed:
        names = first_names(code.installed, _MAX_NAMED)
        found.append(f"imported as installed, not copied with the code: {names}")
    if code.left_out:
        noun = "file or link" if len(code.left_out) == 1 else "files or links"
        names = first_names(code.left_out, _MAX_NAMED)
        found.append(
            f"not copied with the code: {len(code.left_out)} {noun} beside modules: {names}; "
            "`code_include` adds files"
        )
    return found
