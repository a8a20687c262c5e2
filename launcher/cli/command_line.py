"""Run the command of a command line, and turn errors into exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from launcher import exit_codes
from launcher.cli.arguments import parse
from launcher.errors import DoesNotFitError, LauncherError, SlurmError, SubmissionError
from trainers.errors import TrainerError

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
}
"""Each has a function named after the command. Only the module of the given command is imported,
and the function imports the rest: no command waits for the imports of another one."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return one of `launcher.exit_codes`."""
    arguments = parse(argv)
    try:
        command = getattr(import_module(_MODULES[arguments.command]), arguments.command)
        code: int = command(arguments)
        sys.stdout.flush()
    except DoesNotFitError as error:
        return _refuse(error, exit_codes.DOES_NOT_FIT)
    except (SubmissionError, SlurmError) as error:
        return _refuse(error, exit_codes.REFUSED)
    except (LauncherError, TrainerError) as error:
        return _refuse(error, exit_codes.UNUSABLE)
    except KeyboardInterrupt:
        print("interrupted; runs in the background continue", file=sys.stderr)
        return exit_codes.INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        # Python flushes stdout once more at exit; without this it would report the broken pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.OK
    return code


def _refuse(error: Exception, code: int) -> int:
    print(error, file=sys.stderr)
    return code
