"""Find the files of a folder that are code, even if it is a home folder with volumes in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path, PurePath

from launcher.errors import LauncherError

_CODE = (".py", ".pyi", ".so")
_CONFIGS = (".toml", ".yaml", ".yml", ".json")
_MAX_CONFIG_BYTES = 1_000_000
_NOT_CODE = ("__pycache__", "node_modules", "site-packages", "venv")
_VOLUMES = (".zarr", ".n5")
_RUNS = "experiments/*/runs"
"""Where the runs of an experiment lie, below any folder."""
_MAX_ENTRIES = 50_000
_MAX_FILES = 5_000
_MAX_BYTES = 100_000_000
_GIT_TIMEOUT_S = 20


def source_files(folder: Path, *, apart_from: Path) -> list[str]:
    """Return sorted names below a folder: modules, and small configs beside or below them.

    What git ignores is left out, except compiled modules beside others; so are environments,
    volumes, experiments and hidden folders. Links are followed to files, not to folders.

    Args:
        apart_from: Another folder that is left out.

    Raises:
        LauncherError: There is too much in the folder.
    """
    listed = _selected(_files_of_git(folder), folder, apart_from)
    if not any(name.endswith(_CODE) for name in listed):  # no repository, or ignored as a whole
        listed = _selected(_walk(folder, apart_from), folder, apart_from)
    with_code = {_parent(name) for name in listed if name.endswith(_CODE)}
    listed += _compiled(folder, with_code)
    below_code = with_code - {""}
    chosen = [
        name
        for name in sorted(set(listed))
        if name.endswith(_CODE) or _parent(name) in with_code or below_code & {*_parents(name)}
    ]
    return _of_allowed_size(folder, chosen)


def _selected(names: Iterable[str], folder: Path, apart_from: Path) -> list[str]:
    """Select code and configs by their names, outside of the folders that are left out."""

    @cache
    def is_left_out(inner: str) -> bool:
        if not inner:
            return False
        return is_left_out(_parent(inner)) or _is_left_out(folder / inner, apart_from)

    return [
        name
        for name in names
        if name.endswith((*_CODE, *_CONFIGS)) and not is_left_out(_parent(name))
    ]


def _is_left_out(folder: Path, apart_from: Path) -> bool:
    """Return whether a folder is hidden, not code by its name, an environment or an experiment."""
    name = folder.name
    return (
        name.startswith(".")
        or name in _NOT_CODE
        or name.endswith(_VOLUMES)
        or folder.absolute() == apart_from.absolute()
        or (folder / "pyvenv.cfg").exists()
        or (folder / "conda-meta").exists()
        or ((folder / "experiment.yaml").exists() and (folder / "runs").exists())
        or (folder.match(_RUNS) and _holds_runs(folder))
    )


def _holds_runs(folder: Path) -> bool:
    """Return whether run folders lie in a folder, and not a user's modules under the same name."""
    return next(folder.glob("*/state.json"), None) is not None


def _files_of_git(folder: Path, below: str = "") -> list[str]:
    """List files that git tracks or does not ignore, of nested repositories too.

    Empty outside of a repository.
    """
    excludes = [*_NOT_CODE, *(f"*{volume}" for volume in _VOLUMES), f"**/{_RUNS}"]
    command = ["git", "-C", str(folder / below), "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        listing = subprocess.run(
            [*command, *(f"--exclude={pattern}" for pattern in excludes)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        return []
    except subprocess.TimeoutExpired:
        raise _too_much(folder, f"git takes more than {_GIT_TIMEOUT_S} s to list it") from None
    # git lists a submodule or another repository inside as one name, and not its files.
    names = [f"{below}{os.fsdecode(name)}" for name in listing.stdout.split(b"\0") if name]
    for name in list(names):
        if name.endswith("/") or (not PurePath(name).suffix and _is_repository(folder / name)):
            names += _files_of_git(folder, f"{name.rstrip('/')}/")
    return names


def _is_repository(path: Path) -> bool:
    return (path / ".git").exists()


def _walk(folder: Path, apart_from: Path) -> Iterator[str]:
    """Yield all files outside of the folders that are left out."""
    num_entries = 0
    folders = [""]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(folder / here) as entries:
                for entry in entries:
                    num_entries += 1
                    if num_entries > _MAX_ENTRIES:
                        raise _too_much(folder, f"it holds more than {_MAX_ENTRIES} files")
                    name = f"{here}{entry.name}"
                    if not entry.is_dir(follow_symlinks=False):
                        yield name
                    elif not _is_left_out(folder / name, apart_from):
                        folders.append(f"{name}/")
        except PermissionError:
            continue  # nor could a run import from it


def _compiled(folder: Path, inner_folders: Iterable[str]) -> Iterator[str]:
    """Yield compiled modules, which git usually ignores."""
    for inner in inner_folders:
        for file in (folder / inner).glob("*.so"):
            yield file.relative_to(folder).as_posix()


def _of_allowed_size(folder: Path, names: Iterable[str]) -> list[str]:
    kept = []
    total = 0
    for name in names:
        path = folder / name
        if not path.is_file() or not os.access(path, os.R_OK):
            continue  # removed but still tracked by git, a broken link, or unreadable
        size = path.stat().st_size
        if name.endswith(_CODE) or size < _MAX_CONFIG_BYTES:
            kept.append(name)
            total += size
        if len(kept) > _MAX_FILES:
            raise _too_much(folder, f"it holds more than {_MAX_FILES} files of code")
        if total > _MAX_BYTES:
            raise _too_much(folder, f"its code takes more than {_MAX_BYTES // 10**6} MB")
    return kept


def _too_much(folder: Path, why: str) -> LauncherError:
    return LauncherError(
        f"{folder} is too large to be copied as the code of the runs: {why}. Set python_path to "
        "smaller folders that hold your modules and little else, or to [] if there are none."
    )


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _parents(name: str) -> Iterator[str]:
    while name := _parent(name):
        yield name
