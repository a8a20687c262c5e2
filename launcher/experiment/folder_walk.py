"""Walk through a folder, but not into what is no code: it may be a home with volumes in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from launcher.errors import LauncherError

CODE = (".py", ".pyi", ".so")
NOT_CODE = ("__pycache__", "node_modules", "site-packages", "venv")
VOLUMES = (".zarr", ".n5")
RUNS = "experiments/*/runs"
"""Where the runs of an experiment lie, below any folder."""
NOT_LISTED = (PermissionError, FileNotFoundError, NotADirectoryError)
"""Errors of a folder that is gone, or that is closed to the user."""
_MAX_ENTRIES = 50_000
_MAX_LINKED_ENTRIES = 5_000
"""Below a linked folder, which may lead to all the data of a site."""
_WILD = "*?["


def is_left_out(folder: Path, apart_from: Path) -> bool:
    """Return whether a folder is hidden, not code by its name, an environment or an experiment."""
    name = folder.name
    return (
        name.startswith(".")
        or name in NOT_CODE
        or name.endswith(VOLUMES)
        or folder.absolute() == apart_from.absolute()
        or (folder / "pyvenv.cfg").exists()
        or (folder / "conda-meta").exists()
        or ((folder / "experiment.yaml").exists() and (folder / "runs").exists())
        or (folder.match(RUNS) and _holds_runs(folder))
    )


def _holds_runs(folder: Path) -> bool:
    """Return whether run folders lie in a folder, and not a user's modules under the same name."""
    return next(folder.glob("*/state.json"), None) is not None


def is_link_to_folder(path: Path) -> bool:
    try:
        return path.is_symlink() and path.is_dir()
    except OSError:  # links in a circle
        return False


def walk(
    folder: Path,
    apart_from: Path,
    below: str = "",
    *,
    most: int | None = None,
    depth: int | None = None,
) -> Iterator[str]:
    """Yield all files outside of the folders that are left out; links to folders end with /.

    Args:
        below: Ends with /: where in the folder the walk begins.
        depth: The most parts that a name has.

    Raises:
        LauncherError: There are more than `most` files.
    """
    most = most or _MAX_ENTRIES
    num_entries = 0
    folders = [below]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(folder / here) as entries:
                for entry in entries:
                    num_entries += 1
                    if num_entries > most:
                        raise too_much(folder, f"it holds more than {most} files")
                    name = f"{here}{entry.name}"
                    if entry.is_symlink():
                        yield f"{name}/" if is_link_to_folder(folder / name) else name
                    elif not entry.is_dir():
                        yield name
                    elif depth and name.count("/") >= depth - 1:
                        continue
                    elif not is_left_out(folder / name, apart_from):
                        folders.append(f"{name}/")
        except NOT_LISTED:
            continue  # nor could a run import from it


def followed(names: Iterable[str], folder: Path, apart_from: Path) -> Iterator[str]:
    """Yield names of files; in place of a link to a folder with code, the files behind it.

    Raises:
        LauncherError: Links lead to each other again and again.
    """
    num_behind = 0
    pending = list(names)
    while pending:
        name = pending.pop()
        if not name.endswith("/"):
            yield name
            continue
        if _is_circle(folder, name) or is_left_out(folder / name, apart_from):
            continue
        try:
            behind = list(walk(folder, apart_from, name, most=_MAX_LINKED_ENTRIES))
        except LauncherError:
            continue
        if any(each.endswith(CODE) for each in behind):
            num_behind += len(behind)
            if num_behind > _MAX_ENTRIES:
                raise too_much(folder, f"links in it lead to more than {_MAX_ENTRIES} files")
            pending += behind


def _is_circle(folder: Path, name: str) -> bool:
    """Return whether a link leads to a folder above it, on the way that led to it."""
    target = (folder / name).resolve()
    above = [folder, *(folder / each for each in PurePath(name).parents)]
    return any(each.resolve().is_relative_to(target) for each in above)


def matching(folder: Path, patterns: Iterable[str], *, apart_from: Path) -> Iterator[str]:
    """Yield the files that match a pattern such as `nets/**/*.npy`, by their names.

    Wildcards lead neither into what is left out nor over links to other things than code; folders
    that a pattern names may be both.

    Raises:
        LauncherError: There are too many files where a pattern is to be looked for.
    """
    for pattern in patterns:
        parts = PurePath(pattern).parts
        wild = [position for position, part in enumerate(parts) if any(c in part for c in _WILD)]
        if not wild:
            if (folder / pattern).is_file():
                yield "/".join(parts)
            continue
        below = "".join(f"{part}/" for part in parts[: wild[0]])
        names = walk(folder, apart_from, below, depth=None if "**" in parts else len(parts))
        for name in followed(names, folder, apart_from):
            if _matches(name.removeprefix(below).split("/"), parts[wild[0] :]):
                yield name


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[n:], pattern[1:]) for n in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def too_much(folder: Path, why: str) -> LauncherError:
    return LauncherError(
        f"{folder} is too large to be copied as the code of the runs: {why}. Set python_path to "
        "smaller folders that hold your modules and little else, or to [] if there are none."
    )
