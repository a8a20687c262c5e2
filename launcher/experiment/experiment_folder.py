"""The files of an experiment: paths, and what is in them."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from trainers.run.atomic_write import Fence, unfenced
from trainers.run.run_folder import RunFolder

ROOT = Path("experiments")
"""The default folder of experiments."""


@frozen
class PackFolder:
    """The files of one pack: the runs of one job."""

    path: Path = field(converter=Path)
    fence: Fence = field(default=unfenced, eq=False, repr=False, kw_only=True)
    """Called before anything is written about a run; raises once the lease is lost."""

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def experiment(self) -> ExperimentFolder:
        return ExperimentFolder(self.path.parent.parent)

    @property
    def manifest(self) -> Path:
        """The members and the machine that they share: `job.pack.Pack` as JSON."""
        return self.path / "pack.json"

    @property
    def job(self) -> Path:
        """The Slurm job that has the pack: `job.pack.SubmittedJob` as JSON."""
        return self.path / "job.json"

    @property
    def events(self) -> Path:
        """What happened to the job: JSON lines, append only."""
        return self.path / "events.jsonl"

    @property
    def lease(self) -> Path:
        """Lease of the supervisor on the first node."""
        return self.node_lease(0)

    def node_lease(self, node: int) -> Path:
        """Return the lease of the supervisor on a node."""
        return self.path / ("lease.json" if node == 0 else f"lease.node-{node}.json")

    def node_end(self, node: int) -> Path:
        """Return the file that a node writes when it is done; it says in which start of the job."""
        return self.path / f"end.node-{node}.json"

    @property
    def stop(self) -> Path:
        """Which node was signalled to stop, in which start of the job: the other nodes stop too."""
        return self.path / "stop.json"

    @property
    def is_over(self) -> Path:
        """Exists once this start of the job has ended in good order; the batch script checks it."""
        return self.path / "over"

    def rendezvous_state(self, member: str) -> Path:
        """Return the file by which the first node of a member calls its other nodes."""
        return self.path / "calls" / f"{member}.json"

    def rendezvous_exit(self, member: str, node: int) -> Path:
        """Return the file that says how the ranks of a member ended on another node."""
        return self.path / "calls" / f"{member}.node-{node}.json"

    @property
    def submitit(self) -> Path:
        """submitit's own files of a local job: the pickled job, and the supervisor's output."""
        return self.path / "submitit"

    @property
    def start_log(self) -> Path:
        """The output of the process that starts a local job."""
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
        """The experiment file as last submitted, with the overrides in comments."""
        return self.path / "experiment.yaml"

    @property
    def dashboards(self) -> Path:
        """The URLs of the W&B dashboards that submissions have made or found, by project: JSON."""
        return self.path / "dashboards.json"

    @property
    def lock(self) -> Path:
        """Locked by a submission, from its plan to its last `sbatch`: no other one starts a run.

        Jobs take the locks of runs, `RunFolder.state_lock`. Those that an earlier version submitted
        take this one instead, and wait for submissions as they always have.
        """
        return self.path / ".lock"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def jobs(self) -> Path:
        return self.path / "jobs"

    @property
    def code(self) -> Path:
        """The code snapshots, one folder each."""
        return self.path / "code"

    @property
    def nodes(self) -> Path:
        """Failures of nodes, and which nodes are forgiven: JSON lines, append only."""
        return self.path / "nodes.jsonl"

    @property
    def notify(self) -> Path:
        """Who is told what, as last submitted: `NotifyConfig` as JSON; absent if nobody is."""
        return self.path / "notify.json"

    @property
    def notices(self) -> Path:
        """What there was to tell, and who was told: JSON lines, append only."""
        return self.path / "notices.jsonl"

    @property
    def notices_lock(self) -> Path:
        """Locked while it is decided what is told."""
        return self.path / ".notices.lock"

    @property
    def submitit(self) -> Path:
        """submitit's own files of Slurm jobs: scripts, pickles, and the output of supervisors."""
        return self.path / "submitit"

    def run(self, name: str) -> RunFolder:
        return RunFolder(self.runs / name)

    def pack(self, name: str) -> PackFolder:
        return PackFolder(self.jobs / name)

    @classmethod
    def of_run(cls, folder: RunFolder) -> ExperimentFolder:
        """Return the experiment that a run folder lies in."""
        return cls(folder.path.parent.parent)
