"""Run the command of a command line, and turn errors into exit codes."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

from launcher import exit_codes
from launcher.cli.arguments import parse
from launcher.cli.printing import print_progress, print_text
from launcher.errors import (
    DoesNotFitError,
    FilesError,
    LauncherError,
    LockHeldError,
    SlurmError,
    SubmissionError,
)
from trainers.errors import TrainerError, UnavailableError

_SUBMITTING = "launcher.cli.submit_commands"
_MONITORING = "launcher.cli.monitor_commands"
_MODULES = {
    "submit": _SUBMITTING,
    "resubmit": _SUBMITTING,
    "cancel": _SUBMITTING,
    "nodes": _SUBMITTING,
    "status": _MONITORING,
    "logs": _MONITORING,
    "explain": _MONITORING,
    "checkpoints": _MONITORING,
    "profile": _MONITORING,
    "clusters": _MONITORING,
    "sync": "launcher.cli.sync_command",
}
"""Each has a function named after the command. Only the module of the given command is imported,
and the function imports the rest: no command waits for the imports of another one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return one of `launcher.exit_codes`."""
    _prepare_streams()
    try:
        return _run(argv)
    except DoesNotFitError as error:
        return _refuse(error, exit_codes.DOES_NOT_FIT)
    except (SubmissionError, SlurmError) as error:
        return _refuse(error, exit_codes.REFUSED)
    except (FilesError, LockHeldError, UnavailableError) as error:
        return _refuse(error, exit_codes.UNAVAILABLE)
    except (LauncherError, TrainerError) as error:
        return _refuse(error, exit_codes.UNUSABLE)
    except KeyboardInterrupt:
        return _refuse("interrupted; runs in the background continue", exit_codes.INTERRUPTED)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        return exit_codes.OK
    except OSError as error:
        from launcher.os_errors import sentence

        return _refuse(sentence(error), exit_codes.UNAVAILABLE)
    except ImportError as error:
        return _refuse(
            f"{error}, while loading the programs of `launch` below {sys.prefix}: look whether its "
            "files are there and can be read, or install it again",
            exit_codes.UNAVAILABLE,
        )
    except Exception:
        import traceback

        print_progress(traceback.format_exc())
        what = "this is a bug in launch: please report it, with the lines above and the command"
        return _refuse(what, exit_codes.BUG)
    finally:
        _discard_what_cannot_be_written()


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = parse(argv)
    except SystemExit:  # after --help, or wrong usage
        print_text("", end="")
        raise
    command = getattr(import_module(_MODULES[arguments.command]), arguments.command)
    code: int = command(arguments)
    return code


def _refuse(error: object, code: int) -> int:
    print_progress(str(error))
    return code


def _prepare_streams() -> None:
    """Let nothing that is printed fail for its encoding, or end up in a file that is no stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file to be opened would get the number
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_what_cannot_be_written() -> None:
    """Python flushes both streams once more at exit, and would report the failure again."""
    for stream in (sys.stdout, sys.stderr):
        if not _can_be_flushed(stream):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _can_be_flushed(stream: TextIO) -> bool:
    try:
        stream.flush()
    except OSError:
        return False
    return True
