"""Which files of a folder are code, be it a home folder with volumes in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path, PurePath

from launcher.errors import LauncherError

_CODE = (".py", ".pyi", ".so")
_BESIDE_CODE = (".toml", ".yaml", ".yml", ".json")
_MAX_BYTES_BESIDE_CODE = 1_000_000
_NO_CODE = ("__pycache__", "node_modules", "site-packages", "venv")
_VOLUMES = (".zarr", ".n5")
_EXPERIMENTS = "**/experiments/*/runs"
_MAX_ENTRIES = 50_000
_MAX_FILES = 5_000
_MAX_BYTES = 100_000_000
_GIT_TIMEOUT_S = 20


def source_files(folder: Path, *, apart_from: Path) -> list[str]:
    """Names below the folder, sorted: modules, and small configs beside or below them.

    What git ignores is left out, compiled modules beside others aside; so are environments,
    volumes, experiments and hidden folders. Links are followed to files, not to folders.

    Args:
        apart_from: A folder that is left out, too.

    Raises:
        LauncherError: There is too much in the folder.
    """
    listed = _wanted(_files_of_git(folder), folder, apart_from)
    if not any(name.endswith(_CODE) for name in listed):  # no repository, or ignored as a whole
        listed = _wanted(_walk(folder, apart_from), folder, apart_from)
    with_code = {_parent(name) for name in listed if name.endswith(_CODE)}
    listed += _compiled(folder, with_code)
    below_code = with_code - {""}
    chosen = [
        name
        for name in sorted(set(listed))
        if name.endswith(_CODE) or _parent(name) in with_code or below_code & {*_parents(name)}
    ]
    return _of_fair_size(folder, chosen)


def _wanted(names: Iterable[str], folder: Path, apart_from: Path) -> list[str]:
    """Code, and what may lie beside it, but not in a folder that is to be left out."""

    @cache
    def is_left_out(inner: str) -> bool:
        if not inner:
            return False
        return is_left_out(_parent(inner)) or _is_left_out(folder / inner, apart_from)

    return [
        name
        for name in names
        if name.endswith((*_CODE, *_BESIDE_CODE)) and not is_left_out(_parent(name))
    ]


def _is_left_out(folder: Path, apart_from: Path) -> bool:
    """Whether a folder is hidden, no code by its name, an environment, or an experiment."""
    name = folder.name
    return (
        name.startswith(".")
        or name in _NO_CODE
        or name.endswith(_VOLUMES)
        or folder.absolute() == apart_from.absolute()
        or (folder / "pyvenv.cfg").exists()
        or (folder / "conda-meta").exists()
        or ((folder / "experiment.yaml").exists() and (folder / "runs").exists())
    )


def _files_of_git(folder: Path, below: str = "") -> list[str]:
    """Files that git has or would have, of repositories inside too; none outside of one."""
    excludes = [*_NO_CODE, *(f"*{volume}" for volume in _VOLUMES), _EXPERIMENTS]
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
    names = [f"{below}{os.fsdecode(name)}" for name in listing.stdout.split(b"\0") if name]
    for name in list(names):
        if name.endswith("/") or (not PurePath(name).suffix and _is_repository(folder / name)):
            names += _files_of_git(folder, f"{name.rstrip('/')}/")
    return names


def _is_repository(path: Path) -> bool:
    return (path / ".git").exists()


def _walk(folder: Path, apart_from: Path) -> Iterator[str]:
    """All files but those in folders that are to be left out."""
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
                    elif entry.name != _EXPERIMENTS and not _is_left_out(folder / name, apart_from):
                        folders.append(f"{name}/")
        except PermissionError:
            continue  # nobody can import from it either


def _compiled(folder: Path, inner_folders: Iterable[str]) -> Iterator[str]:
    """Compiled modules, which git ignores as a rule."""
    for inner in inner_folders:
        for file in (folder / inner).glob("*.so"):
            yield file.relative_to(folder).as_posix()


def _of_fair_size(folder: Path, names: Iterable[str]) -> list[str]:
    fair = []
    total = 0
    for name in names:
        path = folder / name
        if not path.is_file() or not os.access(path, os.R_OK):
            continue  # git has it still, a link leads nowhere, or nobody could import it
        size = path.stat().st_size
        if name.endswith(_CODE) or size < _MAX_BYTES_BESIDE_CODE:
            fair.append(name)
            total += size
        if len(fair) > _MAX_FILES:
            raise _too_much(folder, f"it holds more than {_MAX_FILES} files of code")
        if total > _MAX_BYTES:
            raise _too_much(folder, f"its code takes more than {_MAX_BYTES // 10**6} MB")
    return fair


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
