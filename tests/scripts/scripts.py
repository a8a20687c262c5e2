"""What lies in `scripts`."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

from scripts.workloads.checkout import ROOT

COMMANDS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "scripts").rglob("*")
    if path.is_file() and os.access(path, os.X_OK)
)
"""All that can be started, as paths in the checkout."""


def is_python(path: Path) -> bool:
    if path.suffix:
        return path.suffix == ".py"
    first_line = path.read_text().split("\n", 1)[0]
    return first_line.startswith("#!") and ("python" in first_line or "in-venv" in first_line)


def imported_packages(path: Path) -> Iterator[str]:
    """The first parts of the names of all modules that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
