"""Print the result of a command as text or as JSON."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from launcher import exit_codes


def print_result(arguments: Namespace, data: Any, text: str) -> int:
    """Print the data with --json, else the text; return exit code 0."""
    if arguments.json:
        print_json(data)
    else:
        print(text)
    return exit_codes.OK


def print_json(data: Any) -> None:
    print(json.dumps(data, indent=1, default=str))


def print_progress(text: str) -> None:
    """Print a line to stderr at once; stdout is for the result alone."""
    print(text, file=sys.stderr, flush=True)
