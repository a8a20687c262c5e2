"""Note the project's files in which functions are entered, while a program runs.

    tracer.py NOTES ROOT BEGIN UNTIL MODULE:FUNCTION [ARGUMENTS]    or
    tracer.py NOTES ROOT BEGIN UNTIL MODULE [ARGUMENTS]             as with `python -m`

It imports nothing of the project itself, so it runs with any layout. Noting begins with the first
call of a function called BEGIN. A line of NOTES is a phase and a file: the phase is `before` until
a file exists that the pattern UNTIL fits, seen from /, and `after` from then on. A function counts
when it is called, in any thread; a module's or a class's own body does not, nor what they call.
"""

from __future__ import annotations

import importlib
import inspect
import os
import runpy
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any


class Tracer:
    def __init__(self, notes: Path, root: Path, begin: str, until: str) -> None:
        self._notes = notes
        self._folders = tuple(f"{root / package}{os.sep}" for package in ("launcher", "trainers"))
        self._root = root
        self._begin = begin
        self._until = until
        self._noting = False
        self._is_over = False
        self._seen: set[tuple[bool, str]] = set()
        self._local = threading.local()
        self._process = os.getpid()

    def start(self) -> None:
        threading.setprofile(self)
        sys.setprofile(self)

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return"):
            return
        code = frame.f_code
        if code.co_name == "<module>":
            if frame.f_globals.get("__name__") == "__main__":
                return  # the program itself
            step = 1 if event == "call" else -1
            self._local.imports = max(0, getattr(self._local, "imports", 0) + step)
        elif event == "call" and code.co_filename.startswith(self._folders):
            is_function = bool(code.co_flags & inspect.CO_OPTIMIZED)
            if is_function and not getattr(self._local, "imports", 0):
                self._enter(code.co_name, code.co_filename)

    def _enter(self, function: str, file: str) -> None:
        self._noting |= function == self._begin
        if not self._noting or os.getpid() != self._process:
            return
        if not self._is_over and self._until:
            self._is_over = any(Path("/").glob(self._until))
        if (self._is_over, file) not in self._seen:
            self._seen.add((self._is_over, file))
            with self._notes.open("a") as notes:
                phase = "after" if self._is_over else "before"
                notes.write(f"{phase} {os.path.relpath(file, self._root)}\n")


def main() -> None:
    notes, root, begin, until, target, *arguments = sys.argv[1:]
    tracer = Tracer(Path(notes), Path(root), begin, until)
    module, _, function = target.partition(":")
    sys.argv = [module, *arguments]
    if function:
        called = getattr(importlib.import_module(module), function)
        tracer.start()
        sys.exit(called())
    tracer.start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
