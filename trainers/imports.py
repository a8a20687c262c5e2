"""Import an object by its import path, and pause the garbage collector while modules load."""

from __future__ import annotations

import gc
import importlib
import re
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from trainers.errors import ConfigError

_PATTERN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_import_path(text: str) -> bool:
    """Return whether the text has the form `package.module:Name`."""
    return _PATTERN.fullmatch(text) is not None


def load_object(import_path: str) -> Any:
    """Import the object that an import path names.

    Raises:
        ConfigError: The module cannot be imported, or has no such name; or this process runs the
            code of a snapshot, and the module is neither in it nor installed.
    """
    module_name, name = import_path.split(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"cannot import {module_name!r} for {import_path!r}: {error}. Put the module beside "
            "the experiment file, list its folder under `python_path`, or install it."
        ) from error
    _refuse_other_code(module, import_path)
    try:
        return getattr(module, name)
    except AttributeError:
        known = ", ".join(sorted(each for each in vars(module) if not each.startswith("_")))
        raise ConfigError(
            f"{module_name!r} ({module.__file__}) has no {name!r}; it has {known}"
        ) from None


def is_installed(path: Path) -> bool:
    """Return whether a module is a part of Python or was installed by copying, as from a wheel.

    One that is installed editable, or is found through PYTHONPATH, is where its author edits it.
    """
    path = path.resolve()
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts) or any(
        path.is_relative_to(folder) for folder in _standard_library()
    )


@cache
def _standard_library() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib")
    return tuple(Path(sysconfig.get_path(name)).resolve() for name in names)


def _refuse_other_code(module: ModuleType, import_path: str) -> None:
    snapshot = Path(__file__).resolve().parents[2]
    if not (snapshot / "manifest.json").is_file() or not module.__file__:
        return
    found = Path(module.__file__)
    if not found.resolve().is_relative_to(snapshot) and not is_installed(found):
        raise ConfigError(
            f"{import_path!r} was imported from {found}, which is not a part of the code that was "
            f"submitted, in {snapshot}. Look for what puts that folder first, such as PYTHONPATH "
            "in `setup` or `environment` of the cluster config, and remove it"
        )


@contextmanager
def pause_gc_during_import() -> Iterator[None]:
    """Disable the garbage collector during imports, then freeze what they created.

    Imports allocate hundreds of thousands of objects that live as long as the process, and the
    collector would walk through them over and over: importing torch and gunpowder took 6.2 s with
    it and 3.7 s without, on two cores. `gc.freeze` exempts them from later collections as well,
    which would pause training.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
