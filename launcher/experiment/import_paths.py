"""Find what an import path names, without importing it: a user's module may import torch."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path

import attrs
from attrs import frozen

from launcher.errors import suggestions
from launcher.tables import first_names
from trainers.imports import is_installed

_LOADERS = (
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourceFileLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)
_MADE_AT_IMPORT = ("__getattr__", "__path__", "globals()", "sys.modules", "import *")
"""Words of modules whose names, or submodules, are known only once they are imported."""


@frozen(kw_only=True)
class FoundModule:
    """Where a module lies."""

    name: str
    file: Path | None
    """None for a namespace package, and for a module without a file."""
    folders: tuple[Path, ...] = ()
    """Where the modules of a package lie."""
    goes_first: bool = False
    """Whether it is found before any folder is looked in, wherever that is on the path."""

    @property
    def is_installed(self) -> bool:
        """Whether it is a copy, as of a wheel, that nobody edits; see `imports.is_installed`."""
        places = [self.file] if self.file else self.folders
        return all(is_installed(each) for each in places)

    @property
    def source(self) -> str | None:
        """The text of the module; None if it has none, or it cannot be read."""
        if self.file is None or self.file.suffix != ".py":
            return None
        try:
            return self.file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            return None


def find_module(name: str, python_path: Sequence[Path]) -> FoundModule | None:
    """Find a module as a run would: what this Python finds by itself goes before `python_path`.

    Returns:
        None if there is none.
    """
    top, *inner = name.split(".")
    found = _find_top(top, python_path)
    for part in inner:
        if found is None:
            return None
        found = find_in_folders(part, found.folders, full_name=f"{found.name}.{part}")
    return found


def find_in_folders(name: str, folders: Iterable[Path], *, full_name: str) -> FoundModule | None:
    """Find a module in folders alone, by its last name; the first wins."""
    portions: list[Path] = []
    for folder in folders:
        spec = FileFinder(str(folder), *_LOADERS).find_spec(name)
        if spec is None:
            continue
        found = _found(full_name, spec)
        if found.file:
            return found
        portions += found.folders
    return FoundModule(name=full_name, file=None, folders=tuple(portions)) if portions else None


def lies_in(name: str, folder: Path) -> bool:
    """Return whether a module or package, and not just a folder of its name, lies in a folder."""
    found = find_in_folders(name, [folder], full_name=name)
    return found is not None and found.file is not None


def import_fault(import_path: str, python_path: Sequence[Path]) -> str | None:
    """Return why an import path cannot be imported; None if it can, as far as can be seen."""
    module_name, name = import_path.split(":")
    module = find_module(module_name, python_path)
    if module is None:
        return _missing(module_name, import_path, python_path)
    source = module.source
    if source is None or any(word in source for word in _MADE_AT_IMPORT):
        return None
    try:
        names = set(_defined(ast.parse(source)))
    except SyntaxError as error:
        return f"found {import_path!r}, and {module.file}:{error.lineno} is not Python: {error.msg}"
    if name in names or find_module(f"{module_name}.{name}", python_path):
        return None
    known = suggestions(name, sorted(each for each in names if not each.startswith("_")), most=8)
    return f"found {import_path!r}, and {module.file} has no {name!r}; {known}"


def imported_names(source: str) -> set[str]:
    """Return the first names of all modules that a module imports, such as `torch`."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _missing(module_name: str, import_path: str, python_path: Sequence[Path]) -> str | None:
    found, missing = None, ""
    for part in module_name.split("."):
        missing = f"{missing}.{part}" if missing else part
        module = find_module(missing, python_path)
        if module is None:
            break
        found = module
    if found and any(word in (found.source or "") for word in _MADE_AT_IMPORT):
        return None
    where = first_names([str(each) for each in (found.folders if found else python_path)], 3)
    return (
        f"found {import_path!r}, and there is no module {missing!r} in "
        f"{where or 'python_path, which is empty,'}{'' if found else ' or this environment'}. Put "
        "it beside the experiment file, list its folder under `python_path`, or install it; if "
        "`module load` provides it, load that here too"
    )


def _find_top(name: str, python_path: Sequence[Path]) -> FoundModule | None:
    environment = _in_environment(name)
    if environment and (environment.file or not environment.folders):
        return environment
    beside = find_in_folders(name, python_path, full_name=name)
    if environment is None or beside is None or beside.file:
        return beside or environment
    return FoundModule(name=name, file=None, folders=(*environment.folders, *beside.folders))


def _in_environment(name: str) -> FoundModule | None:
    """Find a module that is installed, in whatever way; modules in memory do not count."""
    goes_first = PathFinder in sys.meta_path
    for finder in sys.meta_path:
        goes_first = goes_first and finder is not PathFinder
        try:
            spec = finder.find_spec(name, None)
        except (ImportError, AttributeError, ValueError):
            continue
        if spec is not None:
            return attrs.evolve(_found(name, spec), goes_first=goes_first)
    return None


def _found(name: str, spec: ModuleSpec) -> FoundModule:
    has_file = spec.has_location and spec.origin is not None
    return FoundModule(
        name=name,
        file=Path(str(spec.origin)) if has_file else None,
        folders=tuple(map(Path, spec.submodule_search_locations or ())),
    )


def _defined(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module has once it is imported, under any condition."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.alias(name=name, asname=other):
                yield other or name.partition(".")[0]
            case _:
                yield from _defined(node)
