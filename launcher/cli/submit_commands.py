"""The commands that change runs: submit, resubmit, cancel; and nodes, which decides where."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs

from launcher import exit_codes
from launcher.cli.printing import print_json, print_progress, print_result, print_text
from launcher.experiment.experiment_folder import ROOT
from trainers.run.run_state import Status

if TYPE_CHECKING:
    from launcher.clusters.cluster_search import Cluster
    from launcher.experiment.experiment import Experiment
    from launcher.monitor.status import RunStatus
    from launcher.submission.options import SubmitOptions
    from launcher.submission.submission import Submission
    from trainers.run.run_folder import RunFolder


def submit(arguments: Namespace) -> int:
    from launcher.clusters.cluster_search import open_cluster
    from launcher.experiment import array_trial
    from launcher.experiment.experiment import read_experiment
    from launcher.submission.plan import refuse_invalid

    cluster = open_cluster(arguments.cluster)
    options = _options(arguments)
    options.slurm.refuse_unless_slurm(cluster)
    try_arrays = partial(array_trial.try_arrays, report=print_progress)
    experiment = read_experiment(arguments.file, arguments.overrides, try_arrays)
    if not options.allow_invalid:
        refuse_invalid(experiment.runs)
    return _submit_to(cluster, experiment, options, arguments)


def resubmit(arguments: Namespace) -> int:
    from launcher.clusters.cluster_search import open_cluster
    from launcher.monitor.find_run import find_targets
    from launcher.submission.resubmission import choose_runs

    runs, states = find_targets(arguments.targets, ROOT), arguments.state
    options = _options(arguments)
    again = choose_runs(runs, states, cluster=arguments.cluster, options=options.slurm)
    if again is None:
        print_progress(f"nothing to do: no run is {' or '.join(states)}")
        if arguments.json:
            print_json({"runs": []})
        return exit_codes.NOTHING_TO_DO
    cluster = open_cluster(again.cluster)
    options = attrs.evolve(options, root=again.folder.path.parent, slurm=again.options)
    options.slurm.refuse_unless_slurm(cluster)
    return _submit_to(cluster, again.experiment, options, arguments)


def cancel(arguments: Namespace) -> int:
    from launcher.monitor.find_run import find_targets
    from launcher.submission.cancel import cancel_runs
    from launcher.tables import table

    outcomes = cancel_runs(find_targets(arguments.targets, ROOT))
    rows = [(each.name, each.outcome) for each in outcomes]
    data = list(map(attrs.asdict, outcomes))
    print_result(arguments, data, table(("RUN", "OUTCOME"), rows))
    return exit_codes.UNAVAILABLE if any(each.failed for each in outcomes) else exit_codes.OK


def nodes(arguments: Namespace) -> int:
    from launcher.experiment.experiment_folder import ExperimentFolder
    from launcher.explain.node_history import node_histories
    from launcher.job.bad_nodes import forget_node, read_node_failures
    from launcher.monitor.find_run import find_targets
    from launcher.tables import table

    runs = find_targets(arguments.targets, ROOT)
    experiments = list(dict.fromkeys(map(ExperimentFolder.of_run, runs)))
    if node := arguments.forget:
        forgotten = [each.name for each in experiments if forget_node(each, node)]
        if not forgotten:
            print_progress(f"nothing to do: {node} has failed none of these runs")
            return exit_codes.NOTHING_TO_DO
        print_progress(f"{node} is forgotten in {', '.join(forgotten)}")
    found = [
        (each.name, node)
        for each in experiments
        for node in node_histories(read_node_failures(each))
    ]
    rows = [
        (
            name,
            node.node,
            node.failures,
            time.strftime("%Y-%m-%d %H:%M", time.localtime(node.last)),
            "yes" if node.is_avoided else "no",
            node.reason,
        )
        for name, node in found
    ]
    header = ("EXPERIMENT", "NODE", "FAILURES", "LAST", "AVOIDED", "THE LAST ONE")
    data = [{"experiment": name, **attrs.asdict(node)} for name, node in found]
    text = table(header, rows) if rows else "no node has failed a run"
    return print_result(arguments, data, text)


def _options(arguments: Namespace) -> SubmitOptions:
    """Return the submit options of the command line, free of argparse."""
    from launcher.clusters.submission_target import SlurmOptions
    from launcher.submission.options import SubmitOptions

    slurm = {each.name: getattr(arguments, each.name) for each in attrs.fields(SlurmOptions)}
    others = {
        name: getattr(arguments, name)
        for name in ("root", "dry_run", "allow_invalid", "take_over")
        if name in arguments  # resubmit has not all of them
    }
    return SubmitOptions(slurm=SlurmOptions(**slurm), **others)


def _submit_to(
    cluster: Cluster, experiment: Experiment, options: SubmitOptions, arguments: Namespace
) -> int:
    from launcher.clusters.cluster_config import DebugClusterConfig
    from launcher.submission.submit import submit_experiment

    if isinstance(cluster.config, DebugClusterConfig):
        return _submit_here(experiment, options, arguments)
    submission = submit_experiment(experiment, cluster, options, print_progress)
    return _report(submission, arguments)


def _report(submission: Submission, arguments: Namespace) -> int:
    from launcher.submission.data_report import arrays_json, arrays_of, arrays_text
    from launcher.submission.submission_report import report_json, report_text

    report = report_json(submission)
    if not arguments.json:
        print_text(report_text(submission))
    if arguments.dry_run:
        arrays = arrays_of(run.config for run in submission.runs)
        report["arrays"] = arrays_json(arrays)
        if not arguments.json:
            print_text(f"\n{arrays_text(arrays)}")
    code = exit_codes.OK if submission.due else exit_codes.NOTHING_TO_DO
    if submission.refusal:
        print_progress(f"the other jobs were refused: {submission.refusal}")
        code = exit_codes.PARTLY_SUBMITTED
    elif arguments.wait and not arguments.dry_run:
        statuses = _wait([run.folder for run in submission.runs], silent=arguments.json)
        report["statuses"] = [attrs.asdict(status) for status in statuses]
        if any(status.state != Status.FINISHED for status in statuses):
            code = exit_codes.RUN_FAILED
    if arguments.json:
        print_json(report)
    return code


def _submit_here(experiment: Experiment, options: SubmitOptions, arguments: Namespace) -> int:
    from launcher.monitor.status import read_statuses
    from launcher.submission.data_report import arrays_json, arrays_of, arrays_text
    from launcher.submission.debug_run import first_due, run_here
    from launcher.tables import short
    from trainers.exit_codes import FINISHED, STOPPED

    run = first_due(experiment, options)
    if run is None:
        print_progress("nothing to do: all runs are already finished, queued or running")
        return exit_codes.NOTHING_TO_DO
    others = [config.name for config in experiment.runs if config.name != run.config.name]
    say = print_progress if arguments.json else print_text
    where = short(run.folder.path)
    say(f"run {run.config.name} in this process, data workers too: {where}")
    if others:
        say(f"not run: {', '.join(others)}")
    if options.dry_run:
        arrays = arrays_of([run.config])
        print_result(arguments, arrays_json(arrays), arrays_text(arrays))
        return exit_codes.OK
    exit_status = run_here(run.folder)
    if arguments.json:
        print_json([attrs.asdict(status) for status in read_statuses([run.folder])])
    codes = {FINISHED: exit_codes.OK, STOPPED: exit_codes.INTERRUPTED}
    return codes.get(exit_status, exit_codes.RUN_FAILED)


def _wait(runs: Sequence[RunFolder], *, silent: bool) -> list[RunStatus]:
    from launcher.cli.screen import wait_for_runs
    from launcher.monitor.watch import watch

    if not silent:
        return wait_for_runs(runs)
    *_, statuses = watch(runs)
    return statuses
