"""Where everything about one experiment lies."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from trainers.run_folder import RunFolder


@frozen
class PackFolder:
    """The files of one pack: the runs of one job."""

    path: Path = field(converter=Path)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def experiment(self) -> ExperimentFolder:
        return ExperimentFolder(self.path.parent.parent)

    @property
    def manifest(self) -> Path:
        """Members and the machine they share: `pack.Pack` as JSON."""
        return self.path / "pack.json"

    @property
    def lease(self) -> Path:
        """Host and process of the node supervisor; locked while it lives."""
        return self.path / "lease.json"

    @property
    def submitit(self) -> Path:
        """submitit's own files: the pickled job, and what the supervisor printed."""
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

    def run(self, name: str) -> RunFolder:
        return RunFolder(self.runs / name)

    def pack(self, name: str) -> PackFolder:
        return PackFolder(self.jobs / name)

    @classmethod
    def of_run(cls, folder: RunFolder) -> ExperimentFolder:
        """The experiment that a run folder lies in."""
        return cls(folder.path.parent.parent)
