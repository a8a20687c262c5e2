"""Where everything about one experiment lies."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import attrs
from attrs import field, frozen

from trainers.run.atomic_write import Fence, unfenced
from trainers.run.run_folder import RunFolder

ROOT = Path("experiments")
"""The folder of experiments, unless another one is named."""


@frozen
class PackFolder:
    """The files of one pack: the runs of one job."""

    path: Path = field(converter=Path)
    fence: Fence = field(default=unfenced, eq=False, repr=False, kw_only=True)
    """Asked before anything is written about a run; of the supervisor that holds the lease."""

    def fenced(self, fence: Fence) -> Self:
        """The same folder, for the supervisor that holds its lease."""
        return attrs.evolve(self, fence=fence)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def experiment(self) -> ExperimentFolder:
        return ExperimentFolder(self.path.parent.parent)

    @property
    def manifest(self) -> Path:
        """Members and the machine they share: `job.pack.Pack` as JSON."""
        return self.path / "pack.json"

    @property
    def job(self) -> Path:
        """The scheduler's job that has the pack: `job.submitted_job.SubmittedJob` as JSON."""
        return self.path / "job.json"

    @property
    def events(self) -> Path:
        """What happened to the job: JSON lines, append only."""
        return self.path / "events.jsonl"

    @property
    def lease(self) -> Path:
        """Who supervises the pack, on its first node."""
        return self.node_lease(0)

    def node_lease(self, node: int) -> Path:
        """Who supervises the pack on one of its nodes."""
        return self.path / ("lease.json" if node == 0 else f"lease.node-{node}.json")

    def node_end(self, node: int) -> Path:
        """Exists once a node has no more to do; says in which start of the job that was."""
        return self.path / f"end.node-{node}.json"

    @property
    def stop(self) -> Path:
        """Which node was asked to stop, in which start of the job: the other nodes stop as well."""
        return self.path / "stop.json"

    @property
    def is_over(self) -> Path:
        """Exists once this start of the job has ended in good order; the batch script looks."""
        return self.path / "over"

    def call(self, member: str) -> Path:
        """How the first node of a member over several nodes calls the others."""
        return self.path / "calls" / f"{member}.json"

    def answer(self, member: str, node: int) -> Path:
        """How the ranks of a member have ended on another node."""
        return self.path / "calls" / f"{member}.node-{node}.json"

    @property
    def submitit(self) -> Path:
        """submitit's own files of a local job: the pickled job, and what the supervisor printed."""
        return self.path / "submitit"

    @property
    def start_log(self) -> Path:
        """What was said while the job was handed over."""
        return self.path / "start.log"


@frozen
class ExperimentFolder:
    """The files of one experiment; a root folder holds one such folder per experiment."""

    path: Path = field(converter=Path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def source(self) -> Path:
        """The experiment as it was last submitted, command line included."""
        return self.path / "experiment.yaml"

    @property
    def lock(self) -> Path:
        """Held by who decides about the states of runs: a submission, or a supervisor."""
        return self.path / ".lock"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    @property
    def code(self) -> Path:
        """A folder per state of the code that runs were submitted with."""
        return self.path / "code"

    @property
    def submitit(self) -> Path:
        """submitit's own files of Slurm jobs: scripts, pickles, and what supervisors printed."""
        return self.path / "submitit"

    def run(self, name: str) -> RunFolder:
        return RunFolder(self.runs / name)

    def pack(self, name: str) -> PackFolder:
        return PackFolder(self.jobs / name)

    @classmethod
    def of_run(cls, folder: RunFolder) -> ExperimentFolder:
        """The experiment that a run folder lies in."""
        return cls(folder.path.parent.parent)
