"""The config of a Slurm cluster: what Slurm itself does not say, or what is to differ from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from attrs import Attribute, field, frozen
from attrs.validators import ge, gt, in_, min_len, optional

from launcher.slurm.gres import has_gpus
from launcher.slurm.parsing import expand_hosts, read_seconds
from trainers.config_faults import Fault, MalformedError, show

TIME = re.compile(r"(\d+-)?\d+:[0-5]\d:[0-5]\d")

StopSignal = Literal["USR2", "USR1", "TERM"]

RequeueBy = Literal["scontrol", "resubmit"]

GpuRequest = Literal["gpus-per-node", "gres", "none"]

MemoryRequest = Literal["per-node", "per-cpu", "per-gpu", "none"]

MEMORY_OPTIONS = ("mem", "mem-per-cpu", "mem-per-gpu")
"""Options of sbatch for memory, of which a job has one at most."""
NO_GPUS_ASKED_FOR = "gpu_request: none asks for no GPUs that memory could be for; remove one"
PASSED_ON = ("comment", "exclude", "nodelist", "reservation", "wckey")
"""Fields that are options of sbatch, as they are."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GPU_TYPE = re.compile(r"[^\s:,=()]+")
_OPTION = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_FIELD_OF_OPTION = {
    "account": "account",
    "array": "max_running",
    "constraint": "constraint",
    "cpus-per-gpu": "cpus_per_node",
    "cpus-per-task": "cpus_per_node",
    "export": "environment",
    "export-file": "environment",
    "gpus": "gpus_per_node or gpu_type",
    "gpus-per-node": "gpus_per_node or gpu_type",
    "gpus-per-socket": "gpus_per_node or gpu_type",
    "gpus-per-task": "gpus_per_node or gpu_type",
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


def check_gpu_type(text: str) -> str:
    """Return the text if it can be a type of GPUs.

    Raises:
        ValueError: It cannot.
    """
    if not _GPU_TYPE.fullmatch(text) or text == "gpu":
        raise ValueError(
            f"found {text!r}; must be one type of GPUs without their number, such as a100; "
            "`sinfo -o %G` lists them as gpu:TYPE:NUMBER"
        )
    return text


def _gpu_type(_: object, __: Attribute[Any], text: str) -> None:
    check_gpu_type(text)


def _one_line(_: object, __: Attribute[Any], text: str) -> None:
    if "\n" in text or not text.strip():
        raise ValueError(f"found {text!r}; must be text in one line")


def _hosts(_: object, __: Attribute[Any], text: str) -> None:
    if re.search(r"\s", text) or not all(expand_hosts(text) or [""]):
        raise ValueError(
            f"found {text!r}; must be names of nodes without spaces, such as n[1-3],n7"
        )


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
        elif option == "gres" and has_gpus(str(value)):
            message = (
                "is set by the launcher, from what the runs ask for, as far as it is about GPUs; "
                "use gpu_type and gpu_request: gres"
            )
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
    """Where jobs are submitted: a partition, or several such as `a,b`, of which the first that is
    free takes a job; None is the default one, or another that has what the runs need."""
    account: str | None = field(default=None, validator=optional(min_len(1)))
    """The Slurm account to charge."""
    qos: str | None = field(default=None, validator=optional(min_len(1)))
    """Quality of service: limits and priority."""
    constraint: str | None = field(default=None, validator=optional(min_len(1)))
    """Node features, as for `sbatch --constraint`."""

    reservation: str | None = field(default=None, validator=optional(_one_line))
    """The reservation whose nodes jobs use."""
    exclude: str | None = field(default=None, validator=optional(_hosts))
    """Nodes that no job gets, such as `n[1-3],n7`."""
    nodelist: str | None = field(default=None, validator=optional(_hosts))
    """Nodes that every job gets, all of them, as Slurm takes it: to choose among nodes, exclude the
    others, or use features."""
    wckey: str | None = field(default=None, validator=optional(_one_line))
    """The workload characterization key to charge; None sends none, and Slurm takes the user's."""
    comment: str | None = field(default=None, validator=optional(_one_line))
    """A comment on each job."""

    nodes: int | None = field(default=None, validator=optional(ge(1)))
    """Nodes per job; None is 1, or as many as the largest run needs."""
    gpus_per_node: int | None = field(default=None, validator=optional(ge(0)))
    """Number of GPUs of a node that jobs may use."""
    cpus_per_node: int | None = field(default=None, validator=optional(ge(1)))
    """Number of cores of a node that jobs may use."""
    memory_gb_per_node: float | None = field(default=None, validator=optional(gt(0)))
    """Main memory of a node that jobs may use, in 2^30 bytes."""
    gpu_type: str | None = field(default=None, validator=optional(_gpu_type))
    """The type of GPUs, as Slurm names it; None: the commonest that fits, whole ones first. A run
    keeps the type that it began on."""
    gpu_request: GpuRequest | None = field(
        default=None, validator=optional(in_(get_args(GpuRequest)))
    )
    """The option of sbatch that asks for GPUs: `gpus-per-node`, or `gres` where that is refused.
    `none` asks for whole nodes (`--exclusive`) and takes all GPUs that their driver lists. None is
    `gpus-per-node`; `gres` where Slurm takes nothing else (its SelectType is cons_res or linear);
    `none` where Slurm knows of no GPUs and `gpus_per_node` is set."""
    memory: MemoryRequest | None = field(
        default=None, validator=optional(in_(get_args(MemoryRequest)))
    )
    """How memory is asked for: `--mem`, `--mem-per-cpu`, `--mem-per-gpu`, or not at all. None is
    `per-node`, or `none` where Slurm does not track memory or `sbatch` has such an option."""

    time: str | None = field(default=None, validator=optional(_time))
    """Time limit of a job; runs that take longer are requeued and resume."""
    grace_s: float | None = field(default=None, validator=optional(gt(0)))
    """Between the preemption signal and the kill."""
    signal: StopSignal | None = field(default=None, validator=optional(in_(get_args(StopSignal))))
    """Sent by Slurm before the time limit; None is USR2."""

    max_array_size: int | None = field(default=None, validator=optional(ge(1)))
    """Jobs of one array."""
    max_submit_jobs: int | None = field(default=None, validator=optional(ge(1)))
    """Running and pending at once in the partition, also jobs of other experiments."""
    max_running: int | None = field(default=None, validator=optional(ge(1)))
    """Running at once, of those of a submission."""
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

    @property
    def has_reservation(self) -> bool:
        return self.reservation_name is not None

    @property
    def reservation_name(self) -> str | None:
        """That of the field, or of the option of sbatch."""
        name = self.reservation or self.sbatch.get("reservation")
        return None if name is None else str(name)

    def __attrs_post_init__(self) -> None:
        given = {name.replace("_", "-"): name for name in self.sbatch}
        faults = [
            Fault(("sbatch", given[name]), f"is set by the field {name}, too; remove one of them")
            for name in PASSED_ON
            if name in given and getattr(self, name) is not None
        ]
        asked = [given[name] for name in MEMORY_OPTIONS if name in given]
        if asked and self.memory not in (None, "none"):
            faults.append(
                Fault(("sbatch", asked[0]), f"memory: {self.memory} asks for it, too; remove one")
            )
        if len(asked) > 1:
            faults.append(Fault(("sbatch", asked[1]), f"excludes {asked[0]}; remove one of them"))
        if self.gpu_request == "none" and self.gpu_type is not None:
            faults.append(Fault(("gpu_type",), "gpu_request: none asks for no type; remove one"))
        if self.gpu_request == "none" and self.memory == "per-gpu":
            faults.append(Fault(("memory",), NO_GPUS_ASKED_FOR))
        if faults:
            raise MalformedError(faults)
