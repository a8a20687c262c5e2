"""Hand an experiment over to the cluster that it is for."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from launcher.clusters.cluster_config import LocalClusterConfig
from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from launcher.experiment.experiment import Experiment
from launcher.submission.submission import Submission


def dispatch(
    experiment: Experiment,
    cluster: LocalClusterConfig | SlurmClusterConfig,
    arguments: Namespace,
    say: Callable[[str], None],
) -> Submission:
    """Submit the runs that are due, as the command line wants it.

    Raises:
        LauncherError: As `submit_locally` and `submit_to_slurm` do.
    """
    if isinstance(cluster, LocalClusterConfig):
        from launcher.submission.local_submission import submit_locally

        return submit_locally(
            experiment,
            arguments.overrides,
            cluster,
            root=arguments.root,
            dry_run=arguments.dry_run,
        )
    from launcher.clusters.submission_target import choose
    from launcher.submission.slurm_submission import submit_to_slurm

    return submit_to_slurm(
        experiment,
        arguments.overrides,
        choose(arguments, cluster, experiment.runs),
        root=arguments.root,
        dry_run=arguments.dry_run,
        say=say,
    )
