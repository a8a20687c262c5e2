"""Print the result of a command as text or as JSON."""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import suppress
from typing import Any

from launcher import exit_codes


def print_result(arguments: Namespace, data: Any, text: str) -> int:
    """Print the data with --json, else the text; return exit code 0."""
    if arguments.json:
        print_json(data)
    else:
        print_text(text)
    return exit_codes.OK


def print_json(data: Any) -> None:
    import json  # not needed to say how a command line is wrong

    print_text(json.dumps(data, indent=1, default=str))


def print_text(text: str, *, end: str = "\n") -> None:
    """Print to stdout at once.

    Raises:
        OSError: It cannot be written; the error names it in place of a path.
    """
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        error.filename = "standard output"
        raise


def print_progress(text: str) -> None:
    """Print a line to stderr at once, if it can be written; stdout is for the result alone."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
