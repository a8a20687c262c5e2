"""The modules of a checkout, read as text and never imported."""

from __future__ import annotations

import ast
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import frozen

PACKAGES = ("launcher", "trainers")
SHORT, LONG = 50, 300
"""In lines: below the one a module is short, above the other it is long."""


@frozen(slots=False)
class Module:
    name: str
    """With dots; a package has the name of its folder."""
    path: Path

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def folder(self) -> str:
        """The package that it lies in; a package lies in itself."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @cached_property
    def num_lines(self) -> int:
        return len(self.path.read_text().splitlines())

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text())


def read_modules(root: Path) -> dict[str, Module]:
    """All modules of the launcher and the trainers, by name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = Module(name, path)
    return found


def sizes(modules: dict[str, Module]) -> dict[str, Any]:
    """How many modules there are; an `__init__` counts only where it is said."""
    files = [each for each in modules.values() if not each.is_package]
    loose = [each.name for each in files if each.folder == "trainers"]
    return {
        "modules": len(files),
        "modules_of": {
            package: sum(each.name.startswith(f"{package}.") for each in files)
            for package in PACKAGES
        },
        "short": sorted(each.name for each in files if each.num_lines < SHORT),
        "long": sorted(each.name for each in files if each.num_lines > LONG),
        "loose": sorted(name for name in loose if name != "trainers.__main__"),
        "loose_with_init_and_main": len(loose) + ("trainers" in modules),
    }


def parameters_named(name: str, modules: dict[str, Module]) -> dict[str, int]:
    """How many parameters of functions bear the name, by module; fields of classes do not count."""
    counts = {
        each.name: sum(
            isinstance(node, ast.arg) and node.arg == name for node in ast.walk(each.tree)
        )
        for each in modules.values()
    }
    return {module: count for module, count in counts.items() if count}
