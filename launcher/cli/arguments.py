"""The command line of `launch`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from launcher.cli.argument_types import (
    COLUMNS,
    ROOT,
    STATES,
    add_file,
    add_targets,
    count,
    positive,
    some_of,
)
from launcher.cli.report_arguments import add_compare, add_report
from launcher.cli.submit_arguments import add_cancel, add_resubmit, add_submit

_EXIT_CODES = """exit codes:
    0  ok
    1  a run failed, or was left unfinished (with --wait, and for debug)
    2  usage or config
    3  nothing to do
    4  does not fit
    5  the job was not started, or Slurm did not answer
    6  some jobs were submitted, the others refused
    7  a checkpoint is not valid
    8  a file or a disk could not be used, or access was refused
   70  a bug in launch
  130  interrupted
"""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments, the command's name among them; exit with 2 on a usage error."""
    parser = argparse.ArgumentParser(
        prog="launch",
        description="Submit, watch, resume and cancel training runs.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_submit(commands)
    add_resubmit(commands)
    _add_status(commands)
    _add_logs(commands)
    _add_explain(commands)
    add_compare(commands)
    add_report(commands)
    _add_checkpoints(commands)
    _add_sync(commands)
    _add_profile(commands)
    add_cancel(commands)
    _add_clusters(commands)
    _add_nodes(commands)
    _add_notify(commands)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print JSON")
    arguments, rest = parser.parse_known_args(argv)
    if arguments.command == "sync" and arguments.follow and arguments.json:
        parser.error("--json prints what became of the runs once; leave out --json or --follow")
    if arguments.command == "logs" and arguments.follow and (arguments.json or arguments.job):
        option = "--json" if arguments.json else "--job"
        parser.error(f"{option} prints a log as it is now; leave out {option} or --follow")
    if arguments.command == "status" and (arguments.usage or arguments.heal):
        others = {"--watch": arguments.watch, "--state": arguments.state, "--sort": arguments.sort}
        others |= {"--limit": arguments.limit, "--usage": arguments.heal and arguments.usage}
        if given := [name for name, value in others.items() if value]:
            does = "submits jobs again" if arguments.heal else "shows what all runs have used"
            option = "--heal" if arguments.heal else "--usage"
            parser.error(f"{option} {does}; leave out {given[0]}")
    if arguments.command == "status" and arguments.watch and arguments.json:
        parser.error("--json prints the runs as they are now; leave out --json or --watch")
    if rest:
        many = next((each for each in ("overrides", "targets") if each in arguments), None)
        if many is None or any(each.startswith("-") for each in rest):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        # argparse matches the positionals of `nargs="*"` once: those after an option are left over.
        getattr(arguments, many).extend(rest)
    return arguments


def _add_clusters(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    clusters = commands.add_parser(
        "clusters",
        help="list the available clusters, or explain one",
        description="List the available clusters. With a name: every value of that cluster and "
        "where it comes from, and its partitions as Slurm describes them.",
    )
    clusters.add_argument(
        "name", nargs="?", metavar="NAME", help="a name from the list, or a .yaml file"
    )


def _add_nodes(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    nodes = commands.add_parser(
        "nodes",
        help="list the nodes that failed runs, and which are avoided",
        description="List the nodes on which runs of an experiment failed for the node: a GPU "
        "that cannot be used, a hang, a start that failed, a node that was lost. Two failures of "
        "one kind within a day, and jobs of the experiment avoid the node.",
    )
    add_targets(nodes)
    nodes.add_argument(
        "--forget", metavar="NODE", help="forget the failures of a node: it is used again"
    )


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = commands.add_parser(
        "status",
        help="show the state and progress of runs",
        description="Show how far runs are: state, smoothed loss, best metric, rate, when they "
        "will be done, when they were last heard of, and why they wait or failed. What does not "
        "fit in the terminal is left out; a pipe and --json get everything.",
    )
    add_targets(status)
    status.add_argument(
        "-w", "--watch", action="store_true", help="keep the table up to date until all runs end"
    )
    status.add_argument(
        "--state",
        type=some_of(STATES),
        default=[],
        metavar="STATE,...",
        help=f"only runs in these states: any of {', '.join(STATES)}",
    )
    status.add_argument(
        "--sort",
        choices=COLUMNS,
        metavar="COLUMN",
        help=f"order by a column, what one looks for first: {', '.join(COLUMNS)}",
    )
    status.add_argument("--limit", type=positive, metavar="N", help="show only the first N of them")
    status.add_argument(
        "--usage",
        action="store_true",
        help="show what runs have used of GPUs, cores and memory, and what would have done",
    )
    status.add_argument(
        "--heal",
        action="store_true",
        help="submit jobs again that are gone though their runs are neither over nor cancelled",
    )


def _add_logs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    logs = commands.add_parser("logs", help="show the output of a run")
    _add_run(logs)
    logs.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="keep printing, over all attempts, until the run ends",
    )
    logs.add_argument(
        "--job",
        action="store_true",
        help="show the output of its job instead: of the batch script and the supervisor; the "
        "default if no attempt has begun",
    )
    logs.add_argument("--attempt", type=count, metavar="N", help="from 0 [the newest]")
    logs.add_argument(
        "--rank", type=count, default=0, metavar="N", help="rank of the process [%(default)s]"
    )


def _add_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    explain = commands.add_parser(
        "explain", help="explain why a run waits, runs or has ended, and what to do"
    )
    _add_run(explain)


def _add_checkpoints(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    checkpoints = commands.add_parser(
        "checkpoints",
        help="list the checkpoints of a run, and whether each is valid",
        description="List the checkpoints of a run, the damaged ones that were set aside, and the "
        "incomplete ones. The run may be training meanwhile.",
    )
    _add_run(checkpoints)
    checkpoints.add_argument(
        "--verify",
        action="store_true",
        help="check the checksum of every file; otherwise only the manifest and the file sizes",
    )


def _add_sync(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sync = commands.add_parser(
        "sync",
        help="bring the runs that W&B lacks rows of there",
        description="Bring runs to W&B, from a machine that reaches it: those with `wandb.mode: "
        "offline`, and those whose node did not reach it. Configs, rows and ends come from the "
        "run folders, from the first row on that W&B lacks; runs may train meanwhile. The command "
        "may be interrupted, and given again.",
    )
    add_targets(sync)
    sync.add_argument(
        "-f", "--follow", action="store_true", help="keep on, and bring what runs add"
    )


def _add_profile(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    profile = commands.add_parser(
        "profile",
        help="train some iterations here, and show where their time goes",
        description="Train the first run of an experiment for some iterations, in a process on "
        "this machine and a temporary folder. Shows where the time goes, and which setting would "
        "help.",
    )
    add_file(profile)
    profile.add_argument(
        "--iterations", type=positive, default=20, metavar="N", help="[%(default)s]"
    )


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "run",
        metavar="RUN",
        help=f"RUN or EXPERIMENT/RUN in {ROOT}, or an EXPERIMENT of one run; or its folder",
    )


def _add_notify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add_file(commands.add_parser("notify", help="send a test message to whom `notify` names"))
