"""The arguments of the commands that change runs: submit, resubmit, cancel."""

from __future__ import annotations

import argparse
from pathlib import Path

from launcher.cli.argument_types import (
    RESUBMITTABLE,
    ROOT,
    add_file,
    add_targets,
    positive,
    some_of,
)


def add_submit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    submit = commands.add_parser(
        "submit",
        help="start the runs of an experiment, or resume the unfinished ones",
        description="Start the runs of an experiment. The same command again leaves runs alone "
        "that are already finished, queued or running, and resumes the others.",
    )
    add_file(submit)
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


def add_resubmit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    resubmit = commands.add_parser(
        "resubmit",
        help="resume the runs of an experiment that failed, wait, or were cancelled",
        description="Resume the runs in the given states, with full retry budgets, on the cluster "
        "and with the Slurm options that they were submitted with. Their configs are read from "
        "their folders; `launch submit` changes what may change.",
    )
    add_targets(resubmit)
    resubmit.add_argument(
        "--state",
        required=True,
        type=some_of(RESUBMITTABLE),
        metavar="STATE,...",
        help=f"which runs: any of {', '.join(RESUBMITTABLE)}",
    )
    resubmit.add_argument(
        "--cluster", metavar="NAME", help="another cluster than the runs were submitted to"
    )
    _add_slurm_options(resubmit)
    _add_modes(resubmit)


def _add_modes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--take-over",
        action="store_true",
        help="go on with runs that another user has submitted, as this user's own",
    )
    command.add_argument("--dry-run", action="store_true", help="show the placement, write nothing")
    command.add_argument(
        "--wait", action="store_true", help="show progress until all runs have ended"
    )


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
    slurm.add_argument("--nodes", type=positive, metavar="N", help="nodes per job")
    slurm.add_argument(
        "--pack",
        type=_pack,
        metavar="auto|none|N",
        help="runs per job: as many as fit, one, or at most N [auto]",
    )
    slurm.add_argument(
        "--gpu-type",
        metavar="TYPE",
        help="type of GPUs, such as a100 [the one that the runs began on, or the commonest]",
    )
    slurm.add_argument("--exclude", metavar="NODES", help="nodes that no job gets: n[1-3],n7")


def _pack(text: str) -> str | int:
    if text in ("auto", "none"):
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"found {text!r}; must be auto, none, or a whole number above 0"
        )
    return int(text)


def add_cancel(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    cancel = commands.add_parser(
        "cancel",
        help="cancel runs",
        description="Cancel runs. Those that are training write a checkpoint first; submitting "
        "again resumes them.",
    )
    add_targets(cancel, is_required=True)
