"""Files that others may read at any moment."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.touch(mode)
    new.write_text(text)
    new.replace(path)
