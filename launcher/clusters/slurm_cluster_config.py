"""The config of a Slurm cluster: what Slurm itself does not say, or what is to differ from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from attrs import Attribute, field, frozen
from attrs.validators import ge, gt, in_, min_len, optional

from launcher.slurm.parsing import read_seconds
from trainers.config_faults import Fault, MalformedError, show

TIME = re.compile(r"(\d+-)?\d+:[0-5]\d:[0-5]\d")

StopSignal = Literal["USR2", "USR1", "TERM"]

RequeueBy = Literal["scontrol", "resubmit"]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPTION = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_FIELD_OF_OPTION = {
    "account": "account",
    "array": "max_running",
    "constraint": "constraint",
    "cpus-per-gpu": "cpus_per_node",
    "cpus-per-task": "cpus_per_node",
    "export": "environment",
    "export-file": "environment",
    "gpus": "gpus_per_node",
    "gpus-per-node": "gpus_per_node",
    "gpus-per-socket": "gpus_per_node",
    "gpus-per-task": "gpus_per_node",
    "mem": "memory_gb_per_node",
    "mem-per-cpu": "memory_gb_per_node",
    "mem-per-gpu": "memory_gb_per_node",
    "no-requeue": "requeue",
    "nodes": "nodes",
    "partition": "partition",
    "qos": "qos",
    "requeue": "requeue",
    "signal": "signal",
    "time": "time",
}
"""Options of sbatch that a field of the config sets."""
_OURS = (
    "chdir",
    "error",
    "gres",
    "job-name",
    "ntasks",
    "ntasks-per-node",
    "open-mode",
    "output",
    "parsable",
    "wait",
    "wrap",
)
"""Options of sbatch that the launcher sets itself."""


def check_time(text: str) -> str:
    """Return the text if it is a duration above 0.

    Raises:
        ValueError: It is not.
    """
    if not TIME.fullmatch(text) or not read_seconds(text):
        raise ValueError(
            f"found {text!r}; must be a time above 0 as HH:MM:SS or days-HH:MM:SS, such as 02:00:00"
        )
    return text


def _time(_: object, __: Attribute[Any], text: str) -> None:
    check_time(text)


def _one_line_each(_: object, __: Attribute[Any], lines: tuple[str, ...]) -> None:
    for position, line in enumerate(lines):
        if "\n" in line or not line.strip():
            raise MalformedError([Fault((position,), f"found {show(line)}; must be one line")])


def _variables(_: object, __: Attribute[Any], variables: Mapping[str, Any]) -> None:
    faults = []
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name):
            faults.append(Fault((name,), "must be a name of letters, digits and _"))
        elif type(value) not in (str, int):
            faults.append(Fault((name,), f"found {show(value)}; must be text; put it in quotes"))
        elif "\n" in str(value):
            faults.append(Fault((name,), f"found {show(value)}; must be one line"))
    if faults:
        raise MalformedError(faults)


def _options(_: object, __: Attribute[Any], options: Mapping[str, Any]) -> None:
    faults = []
    for name, value in options.items():
        option = name.replace("_", "-")
        if not _OPTION.fullmatch(name):
            message = "must be a long option of sbatch without --, such as nice or mail-type"
        elif option in _FIELD_OF_OPTION:
            message = f"is set by the field {_FIELD_OF_OPTION[option]}; use that one"
        elif option in _OURS:
            message = "is set by the launcher, from what the runs ask for; remove it"
        elif value is not True and (type(value) not in (str, int, float) or "\n" in str(value)):
            message = (
                f"found {show(value)}; must be text in one line, a number, or true for an option "
                "without a value"
            )
        else:
            continue
        faults.append(Fault((name,), message))
    if faults:
        raise MalformedError(faults)


@frozen(kw_only=True)
class SlurmClusterConfig:
    """A Slurm cluster. A value of None is asked of Slurm, or left to Slurm's default."""

    kind: str = field(validator=in_(("slurm",)))
    """A Slurm cluster."""
    description: str = field(validator=min_len(1))
    """What `launch clusters` shows."""

    partition: str | None = field(default=None, validator=optional(min_len(1)))
    """Where jobs are submitted."""
    account: str | None = field(default=None, validator=optional(min_len(1)))
    """The Slurm account to charge."""
    qos: str | None = field(default=None, validator=optional(min_len(1)))
    """Quality of service: limits and priority."""
    constraint: str | None = field(default=None, validator=optional(min_len(1)))
    """Node features, as for `sbatch --constraint`."""

    nodes: int | None = field(default=None, validator=optional(ge(1)))
    """Nodes per job; None is 1, or as many as the largest run needs."""
    gpus_per_node: int | None = field(default=None, validator=optional(ge(0)))
    """Number of GPUs of a node that jobs may use."""
    cpus_per_node: int | None = field(default=None, validator=optional(ge(1)))
    """Number of cores of a node that jobs may use."""
    memory_gb_per_node: float | None = field(default=None, validator=optional(gt(0)))
    """Main memory of a node that jobs may use, in 2^30 bytes."""

    time: str | None = field(default=None, validator=optional(_time))
    """Time limit of a job; runs that take longer are requeued and resume."""
    grace_s: float | None = field(default=None, validator=optional(gt(0)))
    """Between the preemption signal and the kill."""
    signal: StopSignal | None = field(default=None, validator=optional(in_(get_args(StopSignal))))
    """Sent by Slurm before the time limit; None is USR2."""

    max_array_size: int | None = field(default=None, validator=optional(ge(1)))
    """Jobs of one array."""
    max_submit_jobs: int | None = field(default=None, validator=optional(ge(1)))
    """Running and pending at once."""
    max_running: int | None = field(default=None, validator=optional(ge(1)))
    """Running at once."""
    accounting: bool | None = None
    """Whether to ask sacct how jobs have ended."""
    requeue: RequeueBy | None = field(default=None, validator=optional(in_(get_args(RequeueBy))))
    """How an unfinished job is requeued; None: by scontrol, or resubmitted if that is refused."""

    setup: tuple[str, ...] = field(default=(), validator=_one_line_each)
    """Shell lines at the start of every job; one that fails ends it, unless it has `|| true`."""
    environment: dict[str, Any] = field(factory=dict, validator=_variables)
    """Variables that are set in each job."""
    sbatch: dict[str, Any] = field(factory=dict, validator=_options)
    """Further options of sbatch by their long names; true for options without a value."""
