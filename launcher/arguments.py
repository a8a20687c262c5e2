"""The command line of `launch`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

ROOT = Path("experiments")

_EXIT_CODES = """exit codes:
    0  ok
    1  a run failed, or was left unfinished (with --wait, and for debug)
    2  usage or config
    3  nothing to do
    4  does not fit
    5  the job was not started
  130  interrupted
"""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, the command's name among them; exits with 2 if they make no sense."""
    parser = argparse.ArgumentParser(
        prog="launch",
        description="Submit, watch and end training runs.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_submit(commands)
    _add_status(commands)
    _add_cancel(commands)
    commands.add_parser("clusters", help="list the places to run at")
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print JSON")
    arguments, rest = parser.parse_known_args(argv)
    if rest:
        if arguments.command != "submit" or any(each.startswith("-") for each in rest):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        arguments.overrides += rest  # argparse takes no more positionals after an option
    return arguments


def _add_submit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    submit = commands.add_parser(
        "submit",
        help="start the runs of an experiment, or carry on those that are not finished",
        description="Start the runs of an experiment. The same command again carries on those that "
        "are not finished, and leaves the others alone.",
    )
    submit.add_argument("file", type=Path, metavar="FILE", help="the experiment, YAML")
    submit.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="replace a value of the file, such as trainer.batch_size=4",
    )
    submit.add_argument(
        "--cluster", required=True, metavar="NAME", help="see `launch clusters`; or a .yaml file"
    )
    submit.add_argument(
        "--root", type=Path, default=ROOT, metavar="DIR", help="folder of experiments [%(default)s]"
    )
    submit.add_argument("--dry-run", action="store_true", help="show the placement, write nothing")
    submit.add_argument(
        "--wait", action="store_true", help="show progress until all runs have ended"
    )
    submit.add_argument(
        "--allow-invalid", action="store_true", help="submit runs whose verify() says no"
    )


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = commands.add_parser("status", help="show how runs are getting on")
    status.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=ROOT,
        metavar="DIR",
        help="of experiments, of one experiment, or of one run [%(default)s]",
    )


def _add_cancel(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    cancel = commands.add_parser(
        "cancel",
        help="end runs",
        description="Ask runs to end. Those that are trained write a checkpoint first; submitting "
        "again carries them on.",
    )
    cancel.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="of a run, or of many as for status"
    )
