"""The command line of `launch`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from launcher.experiment.experiment_folder import ROOT
from trainers.run.run_state import Status

_RESUBMITTABLE = (Status.FAILED, Status.WAITING, Status.CANCELLED)

_EXIT_CODES = """exit codes:
    0  ok
    1  a run failed, or was left unfinished (with --wait, and for debug)
    2  usage or config
    3  nothing to do
    4  does not fit
    5  the job was not started, or Slurm did not answer
    6  some jobs were submitted, the others refused
    7  a checkpoint is not valid
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
    _add_resubmit(commands)
    _add_status(commands)
    _add_logs(commands)
    _add_explain(commands)
    _add_checkpoints(commands)
    _add_profile(commands)
    _add_cancel(commands)
    _add_clusters(commands)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print JSON")
    arguments, rest = parser.parse_known_args(argv)
    if arguments.command == "logs" and arguments.follow and arguments.json:
        parser.error("--json gives a log as it is; leave out --json or --follow")
    if rest:
        if arguments.command not in ("submit", "profile") or any(
            each.startswith("-") for each in rest
        ):
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
    _add_file(submit)
    submit.add_argument(
        "--cluster", required=True, metavar="NAME", help="see `launch clusters`; or a .yaml file"
    )
    _add_slurm_options(submit)
    submit.add_argument(
        "--root", type=Path, default=ROOT, metavar="DIR", help="folder of experiments [%(default)s]"
    )
    _add_ways(submit)
    submit.add_argument(
        "--allow-invalid", action="store_true", help="submit runs whose verify() says no"
    )


def _add_file(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE", help="the experiment, YAML")
    command.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="replace a value of the file, such as trainer.batch_size=4",
    )


def _add_resubmit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    resubmit = commands.add_parser(
        "resubmit",
        help="start again the runs of an experiment that have failed, wait, or were cancelled",
        description="Start again the runs in some states, with new budgets of retries and where "
        "they were submitted before. What they train is read from their folders; `launch submit` "
        "changes what may change.",
    )
    _add_folder(resubmit, "of an experiment, or of one run")
    resubmit.add_argument(
        "--state",
        required=True,
        type=_states,
        metavar="STATE,...",
        help=f"which runs: any of {', '.join(_RESUBMITTABLE)}",
    )
    resubmit.add_argument(
        "--cluster", metavar="NAME", help="instead of the one that the runs were submitted to"
    )
    _add_slurm_options(resubmit)
    _add_ways(resubmit)


def _add_ways(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dry-run", action="store_true", help="show the placement, write nothing")
    command.add_argument(
        "--wait", action="store_true", help="show progress until all runs have ended"
    )


def _add_folder(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument(
        "folder", nargs="?", type=Path, default=ROOT, metavar="DIR", help=f"{what} [%(default)s]"
    )


def _states(text: str) -> list[str]:
    states = text.split(",")
    if unknown := [state for state in states if state not in _RESUBMITTABLE]:
        known = ", ".join(_RESUBMITTABLE)
        raise argparse.ArgumentTypeError(f"found {unknown[0]!r}; must be among {known}")
    return states


def _add_slurm_options(submit: argparse.ArgumentParser) -> None:
    slurm = submit.add_argument_group(
        "for Slurm, instead of what the cluster config and Slurm itself say"
    )
    slurm.add_argument("--partition", metavar="NAME", help="queue to submit to")
    slurm.add_argument("--account", metavar="NAME", help="who pays")
    slurm.add_argument("--qos", metavar="NAME", help="quality of service: limits and priority")
    slurm.add_argument(
        "--time", metavar="HH:MM:SS", help="the longest job; longer runs go on in the next one"
    )
    slurm.add_argument("--nodes", type=_positive, metavar="N", help="nodes of one job")
    slurm.add_argument(
        "--pack",
        type=_pack,
        metavar="auto|none|N",
        help="runs of one job: as many as fit, one, or at most N [auto]",
    )


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"found {text!r}; must be a whole number from 0 on")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; must be a whole number above 0")
    return int(text)


def _pack(text: str) -> str | int:
    if text in ("auto", "none"):
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; must be auto, none, or a whole number above 0"
        )
    return int(text)


def _add_clusters(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    clusters = commands.add_parser(
        "clusters",
        help="list the places to run at, or explain one",
        description="List the places to run at. With a name: every value that holds there and "
        "where it comes from, and what Slurm says about its partitions.",
    )
    clusters.add_argument("name", nargs="?", metavar="NAME", help="from the list; or a .yaml file")


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = commands.add_parser("status", help="show how runs are getting on")
    _add_folder(status, "of experiments, of one experiment, or of one run")


def _add_logs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    logs = commands.add_parser("logs", help="show what a run has printed")
    _add_run(logs)
    logs.add_argument(
        "-f", "--follow", action="store_true", help="go on, over all attempts, until the run ends"
    )
    logs.add_argument("--attempt", type=_count, metavar="N", help="from 0 [the newest]")
    logs.add_argument(
        "--rank", type=_count, default=0, metavar="N", help="process of the attempt [%(default)s]"
    )


def _add_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    explain = commands.add_parser(
        "explain", help="tell why a run waits, goes on or has ended, and what to do"
    )
    _add_run(explain)


def _add_checkpoints(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    checkpoints = commands.add_parser(
        "checkpoints",
        help="list the checkpoints of a run, and whether each is whole",
        description="List the checkpoints of a run, the damaged ones that were set aside, and what "
        "is half written. The run may be in training meanwhile.",
    )
    _add_run(checkpoints)
    checkpoints.add_argument(
        "--verify",
        action="store_true",
        help="read every byte; otherwise the manifest, and the sizes of the files",
    )


def _add_profile(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    profile = commands.add_parser(
        "profile",
        help="train some iterations here, and tell where their time goes",
        description="Train the first run of an experiment for some iterations, in a process on "
        "this machine and a folder that is thrown away. Tells where the time goes, and which "
        "setting would help.",
    )
    _add_file(profile)
    profile.add_argument(
        "--iterations", type=_positive, default=20, metavar="N", help="[%(default)s]"
    )


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "run", metavar="RUN", help=f"its folder; or its name, or EXPERIMENT/NAME, under {ROOT}"
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
