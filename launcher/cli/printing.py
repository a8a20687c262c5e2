"""Print what a command has found, for people or for programs."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from launcher import exit_codes


def print_result(arguments: Namespace, data: Any, text: str) -> int:
    """Print the data with --json, else the text; return the exit code of a success."""
    if arguments.json:
        print_json(data)
    else:
        print(text)
    return exit_codes.OK


def print_json(data: Any) -> None:
    print(json.dumps(data, indent=1, default=str))


def print_progress(text: str) -> None:
    """Print a line on stderr at once, so that stdout has nothing but the result."""
    print(text, file=sys.stderr, flush=True)
