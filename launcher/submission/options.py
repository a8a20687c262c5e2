"""How an experiment is submitted."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from launcher.clusters.submission_target import SlurmOptions
from launcher.experiment.experiment_folder import ROOT


@frozen(kw_only=True)
class SubmitOptions:
    """The options of a submission besides the experiment and the cluster."""

    root: Path = field(default=ROOT, converter=Path)
    """The folder of experiments."""
    dry_run: bool = False
    """Plan and report as usual, but write and start nothing."""
    allow_invalid: bool = False
    """Submit runs whose `verify()` says that they can be of no use."""
    take_over: bool = False
    """Go on with runs that another user has submitted: they are this user's from then on."""
    slurm: SlurmOptions = field(factory=SlurmOptions)
    """Only for clusters of kind slurm."""
