"""The operations of files that file_calls.h tells apart, and how a library with it is compiled."""

from __future__ import annotations

import subprocess
from pathlib import Path

READING = ("open", "read", "stat", "list", "close")
WRITING = ("create", "write", "truncate", "mkdir", "rename", "unlink", "touch")
"""`create` is to open for writing, too."""
ALL = (*READING, *WRITING, "fsync", "lock")


def compile_library(source: Path, folder: Path) -> Path:
    """The library for LD_PRELOAD of a C file that includes file_calls.h, made in a folder."""
    library = folder / source.with_suffix(".so").name
    command = ["cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]
    subprocess.run([*command, library, source, "-ldl"], check=True)
    return library
