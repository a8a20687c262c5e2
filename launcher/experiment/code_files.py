"""Find the files of a folder that are code, even if it is a home folder with volumes in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePath

from attrs import field, frozen

from launcher.errors import LauncherError

CODE = (".py", ".pyi", ".so")
_CONFIGS = (".toml", ".yaml", ".yml", ".json")
_MAX_CONFIG_BYTES = 1_000_000
_NOT_CODE = ("__pycache__", "node_modules", "site-packages", "venv")
_NOT_READ = (".pyc", ".md", ".rst", ".ipynb", ".log")
"""Endings of files that lie beside modules and are nothing that they would read."""
_VOLUMES = (".zarr", ".n5")
_RUNS = "experiments/*/runs"
"""Where the runs of an experiment lie, below any folder."""
_MAX_ENTRIES = 50_000
_MAX_LINKED_ENTRIES = 5_000
"""Below a linked folder, which may lead to all the data of a site."""
_MAX_FILES = 5_000
_MAX_BYTES = 100_000_000
_NOT_LISTED = (PermissionError, FileNotFoundError, NotADirectoryError)
_GIT_TIMEOUT_S = 20
_GIT_ENVIRONMENT = {
    "LC_ALL": "C",
    # A colleague's repository: git would refuse it, since its config may name programs to run.
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "core.fsmonitor",  # the only such program that listing files would run
    "GIT_CONFIG_VALUE_1": "false",
}


@frozen(kw_only=True)
class SourceFiles:
    """The files of a folder that are copied as code, and what is not."""

    names: Sequence[str]
    """Sorted, below the folder."""
    left_out: Sequence[str] = field(default=())
    """Other files beside modules, and links that are not followed."""
    doubt: str = ""
    """Why it is not known what git ignores; empty if it is, or if there is no repository."""


def source_files(
    folder: Path,
    *,
    apart_from: Path,
    include: Sequence[str] = (),
    whole: Sequence[str] = (),
    asks_git: bool = True,
) -> SourceFiles:
    """Find the code below a folder: modules, and small configs beside or below them.

    What git ignores is left out, except compiled modules beside others; so are environments,
    volumes, experiments and hidden folders. Links to folders are followed if these hold code.

    Args:
        apart_from: Another folder that is left out.
        include: Patterns of further files, below the folder.
        whole: Modules and packages in the folder that are copied even if git ignores them.
        asks_git: False copies what git ignores, as all code of an installed package is needed.

    Raises:
        LauncherError: There is too much in the folder.
    """

    def select(names: Iterable[str]) -> list[str]:
        return _selected(_followed(names, folder, apart_from), folder, apart_from)

    names, doubt = _files_of_git(folder) if asks_git else ([], "")
    listed = select(names)
    if not any(name.endswith(CODE) for name in listed):  # no repository, or ignored as a whole
        listed = select(_walk(folder, apart_from))
    for name in whole:
        is_link = _is_link_to_folder(folder / name)
        below = [f"{name}/"] if is_link else _walk(folder, apart_from, f"{name}/")
        listed += select([f"{name}.py", *below])
    with_code = {_parent(name) for name in listed if name.endswith(CODE)}
    listed += _compiled(folder, with_code)
    below_code = with_code - {""}
    chosen = {
        name
        for name in listed
        if name.endswith(CODE) or _parent(name) in with_code or below_code & {*_parents(name)}
    }
    included = set(_matching(folder, include))
    copied = _of_allowed_size(folder, sorted(chosen | included), included)
    return SourceFiles(
        names=copied, left_out=sorted(_beside(folder, with_code, {*copied})), doubt=doubt
    )


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
        if name.endswith((*CODE, *_CONFIGS)) and not is_left_out(_parent(name))
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


def _files_of_git(folder: Path, below: str = "") -> tuple[list[str], str]:
    """List files that git tracks or does not ignore, of nested repositories too.

    Empty outside of a repository, and if git refuses; then with the reason.
    """
    excludes = [*_NOT_CODE, *(f"*{volume}" for volume in _VOLUMES), f"**/{_RUNS}"]
    command = ["git", "-C", str(folder / below), "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        listing = subprocess.run(
            [*command, *(f"--exclude={pattern}" for pattern in excludes)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, **_GIT_ENVIRONMENT},
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        return [], ""
    except subprocess.TimeoutExpired:
        raise _too_much(folder, f"git takes more than {_GIT_TIMEOUT_S} s to list it") from None
    if listing.returncode != 0:
        refusal = listing.stderr.decode(errors="replace").partition("\n")[0].strip()
        return [], "" if "not a git repository" in refusal else refusal
    names: list[str] = []
    for each in filter(None, listing.stdout.split(b"\0")):
        name = f"{below}{os.fsdecode(each)}"
        # git lists a submodule or another repository inside as one name, and not its files.
        if name.endswith("/") or (not PurePath(name).suffix and _is_repository(folder / name)):
            names += _files_of_git(folder, f"{name.rstrip('/')}/")[0]
        elif not name.endswith((*CODE, *_CONFIGS)) and _is_link_to_folder(folder / name):
            names.append(f"{name}/")
        else:
            names.append(name)
    return names, ""


def _is_repository(path: Path) -> bool:
    return (path / ".git").exists() and not path.is_symlink()


def _is_link_to_folder(path: Path) -> bool:
    try:
        return path.is_symlink() and path.is_dir()
    except OSError:  # links in a circle
        return False


def _walk(
    folder: Path, apart_from: Path, below: str = "", most: int | None = None
) -> Iterator[str]:
    """Yield all files outside of the folders that are left out; links to folders end with /."""
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
                        raise _too_much(folder, f"it holds more than {most} files")
                    name = f"{here}{entry.name}"
                    if entry.is_symlink():
                        yield f"{name}/" if _is_link_to_folder(folder / name) else name
                    elif not entry.is_dir():
                        yield name
                    elif not _is_left_out(folder / name, apart_from):
                        folders.append(f"{name}/")
        except _NOT_LISTED:
            continue  # nor could a run import from it


def _followed(names: Iterable[str], folder: Path, apart_from: Path) -> Iterator[str]:
    """Yield names of files; in place of a link to a folder with code, the files behind it."""
    seen: set[Path] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if not name.endswith("/"):
            yield name
            continue
        target = (folder / name).resolve()
        is_circle = (folder / name).parent.resolve().is_relative_to(target)
        if is_circle or target in seen or _is_left_out(folder / name, apart_from):
            continue
        seen.add(target)
        try:
            behind = list(_walk(folder, apart_from, name, _MAX_LINKED_ENTRIES))
        except LauncherError:
            continue
        if any(each.endswith(CODE) for each in behind):
            pending += behind


def _matching(folder: Path, patterns: Iterable[str]) -> Iterator[str]:
    for pattern in patterns:
        for path in folder.glob(pattern):
            if path.is_file():
                yield path.relative_to(folder).as_posix()


def _beside(folder: Path, with_code: Iterable[str], copied: set[str]) -> Iterator[str]:
    """Yield what lies beside modules and is not copied: files, and links to folders."""
    for inner in with_code:
        # Removed but still tracked by git, or unreadable: nor is a module copied from it.
        with suppress(*_NOT_LISTED), os.scandir(folder / inner) as entries:
            for entry in entries:
                name = f"{inner}/{entry.name}" if inner else entry.name
                is_read = not entry.name.startswith(".") and not entry.name.endswith(_NOT_READ)
                if not is_read or name in copied or entry.is_dir(follow_symlinks=False):
                    continue
                if not _is_link_to_folder(folder / name):
                    yield name
                elif not any(each.startswith(f"{name}/") for each in copied):
                    yield f"{name} -> {Path(entry.path).readlink()}"


def _compiled(folder: Path, inner_folders: Iterable[str]) -> Iterator[str]:
    """Yield compiled modules, which git usually ignores."""
    for inner in inner_folders:
        for file in (folder / inner).glob("*.so"):
            yield file.relative_to(folder).as_posix()


def _of_allowed_size(folder: Path, names: Iterable[str], included: set[str]) -> list[str]:
    kept = []
    total = 0
    for name in names:
        path = folder / name
        if not path.is_file() or not os.access(path, os.R_OK):
            continue  # removed but still tracked by git, a broken link, or unreadable
        size = path.stat().st_size
        if name.endswith(CODE) or name in included or size < _MAX_CONFIG_BYTES:
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
