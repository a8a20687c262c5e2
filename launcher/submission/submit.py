"""Submit an experiment to a cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import attrs

from launcher.clusters.cluster_config import DebugClusterConfig, LocalClusterConfig
from launcher.clusters.cluster_search import Cluster, open_cluster
from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from launcher.errors import LauncherError
from launcher.experiment.array_trial import try_arrays
from launcher.experiment.experiment import Experiment, read_experiment
from launcher.submission.dashboards import make_dashboards
from launcher.submission.options import SubmitOptions
from launcher.submission.plan import refuse_invalid
from launcher.submission.submission import Submission

_logger = logging.getLogger(__name__)


def submit(
    experiment: str | Path | Experiment,
    cluster: str | Path,
    overrides: Sequence[str] = (),
    options: SubmitOptions | None = None,
) -> Submission:
    """Start the runs of an experiment, or resume those that are not finished; return at once.

    The same as `launch submit EXPERIMENT --cluster CLUSTER key=value …`. Progress is logged.

    Args:
        experiment: The YAML file, or what `read_experiment` made of one.
        cluster: A name of `launch clusters`, or the path of a .yaml file. Not one of kind debug:
            that trains in the foreground and is left to the command.
        overrides: Such as `trainer.batch_size=4`; only with a file.

    Raises:
        ConfigError: A file has faults, `verify()` of a run fails, or a run exists and trains
            something else.
        DoesNotFitError: A run asks for more than the cluster has.
        SubmissionError, SlurmError: Nothing was started; the states of the runs are as before.
        LauncherError: The cluster is unknown or does not take the options.
        FilesError, OSError: A run that exists cannot be read, or the experiment's folder cannot be
            written; what was not started then can be submitted again.
    """
    options = options or SubmitOptions()
    opened = open_cluster(str(cluster))
    options.slurm.refuse_unless_slurm(opened)
    if not isinstance(experiment, Experiment):
        experiment = read_experiment(
            Path(experiment), overrides, partial(try_arrays, report=_logger.info)
        )
    elif overrides:
        raise LauncherError(
            f"found overrides for an experiment that is already read: {', '.join(overrides)}; "
            "pass them to read_experiment"
        )
    if not options.allow_invalid:
        refuse_invalid(experiment.runs)
    return submit_experiment(experiment, opened, options, _logger.info)


def submit_experiment(
    experiment: Experiment,
    cluster: Cluster,
    options: SubmitOptions,
    report: Callable[[str], None],
) -> Submission:
    """Submit the due runs, and make the dashboards at W&B that they have not yet.

    Args:
        report: Called with a line of progress now and then.

    Raises:
        LauncherError: As from `submit`.
    """
    if experiment.notify and not options.dry_run:
        from launcher.notify.webhook import problems_of

        for problem in problems_of(experiment.notify):
            report(f"nobody will be told by the webhook: {problem}")
    submission = _submit_jobs(experiment, cluster, options, report)
    if options.dry_run:
        return submission
    dashboards = make_dashboards(submission.folder, experiment, report)
    return attrs.evolve(submission, dashboards=dashboards)


def _submit_jobs(
    experiment: Experiment,
    cluster: Cluster,
    options: SubmitOptions,
    report: Callable[[str], None],
) -> Submission:
    match cluster.config:
        case LocalClusterConfig() as config:
            from launcher.submission.local_submission import submit_locally

            return submit_locally(experiment, cluster, config, options)
        case SlurmClusterConfig():
            from launcher.clusters.submission_target import choose_target
            from launcher.submission.kept_gpu_types import kept_gpu_types
            from launcher.submission.slurm_submission import submit_to_slurm

            kept = kept_gpu_types(experiment, options.root)
            choice = choose_target(cluster, experiment.runs, options.slurm, kept)
            if experiment.notify:
                target = choice.target.with_sbatch(experiment.notify.sbatch)
                choice = attrs.evolve(choice, target=target)
            return submit_to_slurm(experiment, choice, options, report)
        case DebugClusterConfig():
            raise LauncherError(
                f"cluster {cluster.name} trains in the foreground; use the command: "
                f"launch submit {experiment.source} --cluster {cluster.name}"
            )
