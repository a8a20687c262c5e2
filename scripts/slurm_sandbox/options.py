"""What a sandbox is like."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from scripts.slurm_sandbox.errors import SandboxError
from scripts.slurm_sandbox.release import INSTALLED, RELEASES
from scripts.slurm_sandbox.whole_file import write_whole

MAX_NODES = 90


def _option(default: Any, text: str, *choices: str) -> Any:
    return field(default=default, metadata={"help": text, "choices": choices or None})


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `up`; one that is not given has its default, whatever ran before."""

    release: str = _option(
        INSTALLED, "the Slurm of this machine, or that of a Debian release", *RELEASES
    )
    nodes: int = _option(4, "slurmd processes: n1, n2, ...")
    cpus: int = _option(16, "CPUs that each node says it has")
    gpus: int = _option(4, "fake GPUs of each node")
    gpu_types: str = _option("", "types of each node's GPUs, such as a100:2,v100:2; none if empty")
    memory_mb: int = _option(64000, "memory that each node says it has; 0: Slurm knows of none")
    select: str = _option("cons_tres", "what places jobs on nodes", "cons_tres", "cons_res")
    grace: int = _option(8, "seconds between a preemption and the kill; 'nograce' has none")
    user_signal: bool = _option(True, "a preempted job hears the signal of its --signal option")
    max_array_size: int = _option(1001, "MaxArraySize: one more than the highest array index")
    accounting: bool = _option(True, "sacct and QOS, by slurmdbd and MariaDB")
    limits: bool = _option(False, "limits hold, and QOS 'capped' has 2 GPUs a job and 3 a user")
    preempt_by: str = _option("partition", "what decides who preempts whom", "partition", "qos")
    port_base: int = _option(16800, "the sandbox uses this port and the next 999")
    slurmd_timeout: int = _option(15, "seconds until a silent node is down")
    kill_wait: int = _option(5, "seconds between SIGTERM and SIGKILL")
    requeue: bool = _option(True, "JobRequeue: jobs may be requeued unless they say otherwise")

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MAX_NODES:
            raise SandboxError(f"--nodes is {self.nodes}; 1 to {MAX_NODES} are possible")
        if not 1024 <= self.port_base <= 64500:
            raise SandboxError(f"--port-base is {self.port_base}; 1024 to 64500 are possible")
        for name, asked in (("preempt-by qos", self.preempt_by == "qos"), ("limits", self.limits)):
            if asked and not self.accounting:
                raise SandboxError(f"--{name} needs --accounting: a QOS lies in the database")
        if self.select == "cons_res" and self.release == "trixie":
            raise SandboxError(
                "--select cons_res with --release trixie: Slurm has only cons_tres since 23.11. "
                "Use --release bookworm"
            )
        if self.gpu_types and sum(self.gpus_by_type.values()) != self.gpus:
            raise SandboxError(
                f"--gpu-types {self.gpu_types} does not have the {self.gpus} GPUs of --gpus; "
                "say TYPE:NUMBER,TYPE:NUMBER, such as a100:2,v100:2"
            )

    @property
    def gpus_by_type(self) -> dict[str, int]:
        """Empty if they have no types."""
        pairs = [each.partition(":") for each in self.gpu_types.split(",") if each]
        return {name: int(number) if number.isdecimal() else 0 for name, _, number in pairs}

    @property
    def node_names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    @property
    def database_port(self) -> int:
        return self.port_base + 6

    @property
    def controller_port(self) -> int:
        return self.port_base + 17

    @property
    def accounting_port(self) -> int:
        return self.port_base + 19

    def node_port(self, node: str) -> int:
        return self.port_base + 100 + int(node[1:])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for option in fields(Options):
        name = "--" + option.name.replace("_", "-")
        text = f"{option.metadata['help']} [%(default)s]"
        if isinstance(option.default, bool):
            action = argparse.BooleanOptionalAction
            parser.add_argument(name, action=action, default=option.default, help=text)
        else:
            kind, choices = type(option.default), option.metadata["choices"]
            parser.add_argument(name, type=kind, choices=choices, default=option.default, help=text)


def from_arguments(arguments: argparse.Namespace) -> Options:
    return Options(**{option.name: getattr(arguments, option.name) for option in fields(Options)})


def write_options(path: Path, options: Options) -> None:
    write_whole(path, json.dumps(asdict(options), indent=2) + "\n")


def read_options(path: Path) -> Options | None:
    """Those of the last `up`; None if there was none. Options of another version are left out."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    known = {option.name for option in fields(Options)}
    return Options(**{name: value for name, value in found.items() if name in known})
