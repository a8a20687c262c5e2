"""The command line of `launch`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

# Written out, not imported: every command, and every completion of a shell, would wait for attrs
# classes, logging and uuid (10 of 140 ms). A test holds them against their sources.
ROOT = Path("experiments")
RESUBMITTABLE = ("failed", "waiting", "cancelled")

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
    _add_submit(commands)
    _add_resubmit(commands)
    _add_status(commands)
    _add_logs(commands)
    _add_explain(commands)
    _add_checkpoints(commands)
    _add_sync(commands)
    _add_profile(commands)
    _add_cancel(commands)
    _add_clusters(commands)
    _add_nodes(commands)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print JSON")
    arguments, rest = parser.parse_known_args(argv)
    if arguments.command == "sync" and arguments.follow and arguments.json:
        parser.error("--json prints what became of the runs once; leave out --json or --follow")
    if arguments.command == "logs" and arguments.follow and (arguments.json or arguments.job):
        option = "--json" if arguments.json else "--job"
        parser.error(f"{option} prints a log as it is now; leave out {option} or --follow")
    if rest:
        if arguments.command not in ("submit", "profile") or any(
            each.startswith("-") for each in rest
        ):
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        # argparse matches the positionals of `nargs="*"` once: those after an option are left over.
        arguments.overrides += rest
    return arguments


def _add_submit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    submit = commands.add_parser(
        "submit",
        help="start the runs of an experiment, or resume the unfinished ones",
        description="Start the runs of an experiment. The same command again leaves runs alone "
        "that are already finished, queued or running, and resumes the others.",
    )
    _add_file(submit)
    submit.add_argument(
        "--cluster",
        required=True,
        metavar="NAME",
        help="a name from `launch clusters`, or a .yaml file",
    )
    _add_slurm_options(submit)
    submit.add_argument(
        "--root", type=Path, default=ROOT, metavar="DIR", help="folder of experiments [%(default)s]"
    )
    _add_modes(submit)
    submit.add_argument(
        "--allow-invalid", action="store_true", help="submit runs whose verify() fails"
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
        help="resume the runs of an experiment that failed, wait, or were cancelled",
        description="Resume the runs in the given states, with full retry budgets, on the cluster "
        "that they were submitted to. Their configs are read from their folders; `launch submit` "
        "changes what may change.",
    )
    _add_folder(resubmit, "of an experiment, or of one run")
    resubmit.add_argument(
        "--state",
        required=True,
        type=_states,
        metavar="STATE,...",
        help=f"which runs: any of {', '.join(RESUBMITTABLE)}",
    )
    resubmit.add_argument(
        "--cluster", metavar="NAME", help="another cluster than the runs were submitted to"
    )
    _add_slurm_options(resubmit)
    _add_modes(resubmit)


def _add_modes(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dry-run", action="store_true", help="show the placement, write nothing")
    command.add_argument(
        "--wait", action="store_true", help="show progress until all runs have ended"
    )


def _add_folder(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=ROOT,
        metavar="DIR",
        help=f"folder {what} [%(default)s]",
    )


def _states(text: str) -> list[str]:
    states = text.split(",")
    if unknown := [state for state in states if state not in RESUBMITTABLE]:
        known = ", ".join(RESUBMITTABLE)
        raise argparse.ArgumentTypeError(f"found {unknown[0]!r}; must be among {known}")
    return states


def _add_slurm_options(submit: argparse.ArgumentParser) -> None:
    slurm = submit.add_argument_group(
        "Slurm options, which override the cluster config and Slurm's own defaults"
    )
    slurm.add_argument("--partition", metavar="NAME", help="partition to submit to")
    slurm.add_argument("--account", metavar="NAME", help="Slurm account to charge")
    slurm.add_argument("--qos", metavar="NAME", help="quality of service: limits and priority")
    slurm.add_argument(
        "--time",
        metavar="HH:MM:SS",
        help="time limit of a job; longer runs are requeued and resume",
    )
    slurm.add_argument("--nodes", type=_positive, metavar="N", help="nodes per job")
    slurm.add_argument(
        "--pack",
        type=_pack,
        metavar="auto|none|N",
        help="runs per job: as many as fit, one, or at most N [auto]",
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
    _add_folder(nodes, "of experiments, or of one experiment")
    nodes.add_argument(
        "--forget", metavar="NODE", help="forget the failures of a node: it is used again"
    )


def _add_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = commands.add_parser("status", help="show the state and progress of runs")
    _add_folder(status, "of experiments, of one experiment, or of one run")
    status.add_argument(
        "--usage",
        action="store_true",
        help="show what runs have used of GPUs, cores and memory, and what would have done",
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
    logs.add_argument("--attempt", type=_count, metavar="N", help="from 0 [the newest]")
    logs.add_argument(
        "--rank", type=_count, default=0, metavar="N", help="rank of the process [%(default)s]"
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
    _add_folder(sync, "of an experiment, of one run, or of experiments")
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
    _add_file(profile)
    profile.add_argument(
        "--iterations", type=_positive, default=20, metavar="N", help="[%(default)s]"
    )


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "run", metavar="RUN", help=f"folder of the run, or its NAME or EXPERIMENT/NAME in {ROOT}"
    )


def _add_cancel(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    cancel = commands.add_parser(
        "cancel",
        help="cancel runs",
        description="Cancel runs. Those that are training write a checkpoint first; submitting "
        "again resumes them.",
    )
    cancel.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="folder of a run, of an experiment, or of experiments",
    )
