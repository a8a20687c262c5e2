"""Find the files of a folder that are code, even if it is a home folder with volumes in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePath

from attrs import field, frozen

from launcher.experiment.folder_walk import (
    CODE,
    NOT_CODE,
    NOT_LISTED,
    RUNS,
    VOLUMES,
    followed,
    is_left_out,
    is_link_to_folder,
    matching,
    too_much,
    walk,
)

_CONFIGS = (".toml", ".yaml", ".yml", ".json")
_MAX_CONFIG_BYTES = 1_000_000
_NOT_READ = (".pyc", ".md", ".rst", ".ipynb", ".log")
"""Endings of files that lie beside modules and are nothing that they would read."""
_MAX_FILES = 5_000
_MAX_BYTES = 100_000_000
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
        include: Patterns of further files, below the folder; see `matching`.
        whole: Modules and packages in the folder that are copied even if git ignores them.
        asks_git: False copies what git ignores, as all code of an installed package is needed.

    Raises:
        LauncherError: There is too much in the folder.
    """

    def select(names: Iterable[str]) -> list[str]:
        return _selected(followed(names, folder, apart_from), folder, apart_from)

    names, doubt = _files_of_git(folder, apart_from) if asks_git else ([], "")
    listed = select(names)
    if not any(name.endswith(CODE) for name in listed):  # no repository, or ignored as a whole
        listed = select(walk(folder, apart_from))
    for name in whole:
        is_link = is_link_to_folder(folder / name)
        below = [f"{name}/"] if is_link else walk(folder, apart_from, f"{name}/")
        listed += select([f"{name}.py", *below])
    with_code = {_parent(name) for name in listed if name.endswith(CODE)}
    listed += _compiled(folder, with_code)
    below_code = with_code - {""}
    chosen = {
        name
        for name in listed
        if name.endswith(CODE) or _parent(name) in with_code or below_code & {*_parents(name)}
    }
    included = set(matching(folder, include, apart_from=apart_from))
    copied = _of_allowed_size(folder, sorted(chosen | included), included)
    return SourceFiles(
        names=copied, left_out=sorted(_beside(folder, with_code, {*copied})), doubt=doubt
    )


def _selected(names: Iterable[str], folder: Path, apart_from: Path) -> list[str]:
    """Select code and configs by their names, outside of the folders that are left out."""

    @cache
    def is_below_one(inner: str) -> bool:
        if not inner:
            return False
        return is_below_one(_parent(inner)) or is_left_out(folder / inner, apart_from)

    return [
        name
        for name in names
        if name.endswith((*CODE, *_CONFIGS)) and not is_below_one(_parent(name))
    ]


def _files_of_git(folder: Path, apart_from: Path, below: str = "") -> tuple[list[str], str]:
    """List files that git tracks or does not ignore, of nested repositories too.

    Empty outside of a repository, and if git refuses; then with the reason. Of a nested repository
    that git refuses all files are listed.
    """
    excludes = [*NOT_CODE, *(f"*{volume}" for volume in VOLUMES), f"**/{RUNS}"]
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
        raise too_much(folder, f"git takes more than {_GIT_TIMEOUT_S} s to list it") from None
    if listing.returncode != 0:
        refusal = listing.stderr.decode(errors="replace").partition("\n")[0].strip()
        return [], "" if "not a git repository" in refusal and not below else refusal
    names: list[str] = []
    doubts: list[str] = []
    for each in filter(None, listing.stdout.split(b"\0")):
        name = f"{below}{os.fsdecode(each)}"
        # git lists a submodule or another repository inside as one name, and not its files.
        if name.endswith("/") or (not PurePath(name).suffix and _is_repository(folder / name)):
            inner = f"{name.rstrip('/')}/"
            found, doubt = _files_of_git(folder, apart_from, inner)
            names += found if not doubt else walk(folder, apart_from, inner)
            doubts += filter(None, [doubt])
        elif not name.endswith((*CODE, *_CONFIGS)) and is_link_to_folder(folder / name):
            names.append(f"{name}/")
        else:
            names.append(name)
    return names, "; ".join(doubts)


def _is_repository(path: Path) -> bool:
    return (path / ".git").exists() and not path.is_symlink()


def _beside(folder: Path, with_code: Iterable[str], copied: set[str]) -> Iterator[str]:
    """Yield what lies beside modules and is not copied: files, and links to folders."""
    for inner in with_code:
        # Removed but still tracked by git, or unreadable: nor is a module copied from it.
        with suppress(*NOT_LISTED), os.scandir(folder / inner) as entries:
            for entry in entries:
                name = f"{inner}/{entry.name}" if inner else entry.name
                is_read = not entry.name.startswith(".") and not entry.name.endswith(_NOT_READ)
                if not is_read or name in copied or entry.is_dir(follow_symlinks=False):
                    continue
                if not is_link_to_folder(folder / name):
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
            raise too_much(folder, f"it holds more than {_MAX_FILES} files of code")
        if total > _MAX_BYTES:
            raise too_much(folder, f"its code takes more than {_MAX_BYTES // 10**6} MB")
    return kept


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _parents(name: str) -> Iterator[str]:
    while name := _parent(name):
        yield name
