"""Find the packages that a run would import from where their authors edit them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from launcher.errors import LauncherError
from launcher.experiment.code_files import SourceFiles, source_files
from launcher.experiment.import_paths import (
    FoundModule,
    find_in_folders,
    find_module,
    imported_names,
)
from trainers.config_faults import Key
from trainers.imports import is_installed


def import_paths(config: Any, key: Key = ()) -> Iterator[tuple[Key, str]]:
    """Yield all import paths in a config, such as those of networks and augments, with their keys.

    Args:
        config: An attrs object, or what its fields hold.
    """
    if attrs.has(type(config)):
        for each in attrs.fields(type(config)):
            value = getattr(config, each.name)
            if each.name == "import_path":
                yield (*key, each.name), value
            else:
                yield from import_paths(value, (*key, each.name))
    elif isinstance(config, (list, tuple)):
        for position, each in enumerate(config):
            yield from import_paths(each, (*key, position))


def own_modules(
    names: Iterable[str],
    python_path: Sequence[Path],
    *,
    apart_from: Iterable[str],
    copies: Sequence[Path] = (),
) -> dict[str, FoundModule]:
    """Find what this Python imports from where it may be edited, by name, with all that needs it.

    That is installed editable, or found through PYTHONPATH. What lies in the folders of
    `python_path` alone is looked through for imports, but not returned.

    Args:
        names: Of modules without a dot.
        apart_from: Names of modules that do not count.
        copies: Those of `python_path` that were copied earlier: a module in there stands for the
            one that this Python would import instead.
    """
    found: dict[str, FoundModule] = {}
    seen = {*sys.stdlib_module_names, *apart_from}
    pending = list(names)
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        module = find_module(name, python_path)
        if module is None or module.is_installed:
            continue
        by_itself = find_module(name, ())
        copy = _copied(name, copies)
        if by_itself and by_itself.file == module.file:
            found[name] = copy or by_itself
        for path in _sources(copy or module):
            with suppress(OSError, UnicodeDecodeError):  # nor could a run import it
                pending += imported_names(path.read_text(encoding="utf-8-sig"))
    return found


def files_of(
    module: FoundModule, include: Sequence[str] = ()
) -> tuple[Mapping[str, Path], SourceFiles]:
    """Return the files of a module or package by their names in a folder of packages.

    Args:
        include: Patterns of further files, below the folder that holds the package.

    Raises:
        LauncherError: There is too much in the package.
    """
    if not module.folders:
        assert module.file is not None
        name = f"{module.name}{module.file.name.removeprefix(module.file.stem.partition('.')[0])}"
        return {name: module.file}, SourceFiles(names=(name,))
    files: dict[str, Path] = {}
    left_out: list[str] = []
    patterns = [
        pattern.removeprefix(f"{module.name}/")
        for pattern in include
        if pattern.startswith((f"{module.name}/", "**/"))
    ]
    for folder in reversed([each for each in module.folders if not is_installed(each)]):
        found = source_files(folder, apart_from=folder, include=patterns, asks_git=False)
        files |= {f"{module.name}/{name}": folder / name for name in found.names}
        left_out += [f"{module.name}/{name}" for name in found.left_out]
    return files, SourceFiles(names=sorted(files), left_out=left_out)


def refuse_unless_copy_wins(name: str) -> None:
    """Refuse a package that this Python finds before it looks at any path, where copies lie.

    Raises:
        LauncherError: It is installed editable by a build backend with a finder of its own.
    """
    module = find_module(name, ())
    if module and module.goes_first and not module.is_installed:
        raise LauncherError(
            f"{name} is installed editable, in {module.file or module.folders[0]}, in a way that "
            "goes before every copy (as meson-python and scikit-build-core do): jobs would import "
            "what is edited there later. Install it with `pip install .` (not -e), then submit "
            "again"
        )


def _copied(name: str, copies: Sequence[Path]) -> FoundModule | None:
    found = find_in_folders(name, copies, full_name=name)
    return found if found and (found.file or _sources(found)) else None


def _sources(module: FoundModule) -> list[Path]:
    try:
        files, _ = files_of(module)
    except LauncherError:  # too large: whoever copies it says so
        return []
    return [path for path in files.values() if path.suffix == ".py"]
