"""The files of a run."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from trainers.run.atomic_write import Fence, unfenced


@frozen
class RunFolder:
    """The paths of one run's files; no other module joins these names."""

    path: Path = field(converter=Path)
    fence: Fence = field(default=unfenced, eq=False, repr=False, kw_only=True)
    """Asked before a file of the run is made final; the check of the run's lease for its holder."""

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        """The resolved config, YAML."""
        return self.path / "config.yaml"

    @property
    def state(self) -> Path:
        """Status, iteration, attempts by cause: one JSON object, replaced atomically."""
        return self.path / "state.json"

    @property
    def state_lock(self) -> Path:
        """Locked by the launcher while it reads, changes and writes the state."""
        return self.path / ".state.lock"

    @property
    def events(self) -> Path:
        """What happened to the run: JSON lines, append only."""
        return self.path / "events.jsonl"

    @property
    def metrics(self) -> Path:
        """JSON lines, one per reported iteration; truncated to the checkpoint at a resume."""
        return self.path / "metrics.jsonl"

    @property
    def system(self) -> Path:
        """Use of GPUs, cores and memory, JSON lines: see `trainers.run.system_record`."""
        return self.path / "system.jsonl"

    @property
    def submission(self) -> Path:
        """How the run was submitted last: see `trainers.run.submission_record`."""
        return self.path / "submission.json"

    @property
    def lease(self) -> Path:
        """Which process trains the run: see `trainers.run.lease`."""
        return self.path / "lease.json"

    @property
    def left_out(self) -> Path:
        """The iterations that a rewind has left out: one JSON object."""
        return self.path / "left_out.json"

    @property
    def initial_weights(self) -> Path:
        """The checkpoint that `init_from` stands for: one JSON object, written once."""
        return self.path / "initial_weights.json"

    @property
    def weights_cache(self) -> Path:
        """Of an experiment's runs: checkpoints that `init_from` has downloaded, by checksum."""
        return self.path.parent / ".weights"

    @property
    def cancel_request(self) -> Path:
        """Exists once the run was asked to end."""
        return self.path / "cancel"

    @property
    def rendezvous(self) -> Path:
        """The address that rank 0 of an attempt listens on: one JSON object."""
        return self.path / "rendezvous.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def caches(self) -> Path:
        """What libraries would keep in the home, where that is of no use; may be deleted."""
        return self.path / "cache"

    @property
    def snapshots(self) -> Path:
        return self.path / "snapshots.zarr"

    @property
    def wandb(self) -> Path:
        return self.path / "wandb"

    @property
    def wandb_record(self) -> Path:
        """How far W&B has come: one JSON object, see `trainers.run.wandb_record`."""
        return self.path / "wandb.json"

    @property
    def wandb_lease(self) -> Path:
        """Which process has the run open at W&B: its trainer, or `launch sync`."""
        return self.wandb / "lease.json"

    @property
    def wandb_turns(self) -> Path:
        """Of an experiment's runs: which ones are open at W&B, see `trainers.metrics.turns`."""
        return self.path.parent / ".wandb-turns"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def log(self, attempt: int, rank: int = 0) -> Path:
        """Return the log of one rank of one attempt; attempts are counted from 0."""
        return self.logs / f"attempt-{attempt:03d}.rank-{rank}.log"
