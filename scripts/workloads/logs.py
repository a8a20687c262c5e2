"""What programs have written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; none if there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def tail(path: Path, num_characters: int = 3000) -> str:
    """The end of a file, with its name above it."""
    return f"{path.name}:\n{path.read_text(errors='replace')[-num_characters:]}"
