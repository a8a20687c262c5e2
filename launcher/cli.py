"""The command `launch`; the only module that prints.

Every command imports its own modules, so that none waits for those of another.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from launcher import exit_codes
from launcher.arguments import parse
from launcher.errors import DoesNotFitError, LauncherError, SlurmError, SubmissionError
from trainers.errors import TrainerError

if TYPE_CHECKING:
    from launcher.clusters.cluster_config import ClusterConfig
    from launcher.experiment.experiment import Experiment
    from launcher.monitor.progress import Progress
    from launcher.monitor.status import RunStatus
    from launcher.submission.submission import Submission
    from trainers.run.run_folder import RunFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; the result is one of `launcher.exit_codes`."""
    arguments = parse(argv)
    commands = {
        "submit": _submit,
        "resubmit": _resubmit,
        "status": _status,
        "logs": _logs,
        "explain": _explain,
        "checkpoints": _checkpoints,
        "profile": _profile,
        "cancel": _cancel,
        "clusters": _clusters,
    }
    try:
        code = commands[arguments.command](arguments)
        sys.stdout.flush()
    except DoesNotFitError as error:
        return _refuse(error, exit_codes.DOES_NOT_FIT)
    except (SubmissionError, SlurmError) as error:
        return _refuse(error, exit_codes.REFUSED)
    except (LauncherError, TrainerError) as error:
        return _refuse(error, exit_codes.UNUSABLE)
    except KeyboardInterrupt:
        print("interrupted; runs in the background go on", file=sys.stderr)
        return exit_codes.INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.OK
    return code


def _refuse(error: Exception, code: int) -> int:
    print(error, file=sys.stderr)
    return code


def _submit(arguments: Namespace) -> int:
    from launcher.experiment.experiment import read_experiment
    from launcher.submission.plan import refuse_invalid

    cluster = _read_cluster(arguments)
    experiment = read_experiment(arguments.file, arguments.overrides)
    if not arguments.allow_invalid:
        refuse_invalid(experiment.runs)
    return _submit_to(cluster, arguments, experiment)


def _resubmit(arguments: Namespace) -> int:
    from launcher.submission.resubmission import choose_again

    folder, states = arguments.folder.absolute(), arguments.state
    again = choose_again(folder, states, cluster=arguments.cluster)
    if again is None:
        print(f"nothing to do: no run is {' or '.join(states)}", file=sys.stderr)
        if arguments.json:
            _print_json({"runs": []})
        return exit_codes.NOTHING_TO_DO
    arguments.cluster, arguments.root = again.cluster, again.folder.path.parent
    arguments.overrides = []
    return _submit_to(_read_cluster(arguments), arguments, again.experiment)


def _read_cluster(arguments: Namespace) -> ClusterConfig:
    from launcher.arguments import refuse_slurm_options
    from launcher.clusters.cluster_config import read_cluster
    from launcher.clusters.cluster_search import find_cluster

    cluster = read_cluster(find_cluster(arguments.cluster))
    if cluster.kind != "slurm":
        refuse_slurm_options(arguments, arguments.cluster)
    return cluster


def _submit_to(cluster: ClusterConfig, arguments: Namespace, experiment: Experiment) -> int:
    from launcher.clusters.cluster_config import DebugClusterConfig
    from launcher.submission.dispatch import dispatch

    if isinstance(cluster, DebugClusterConfig):
        return _submit_here(arguments, experiment)
    say = partial(print, file=sys.stderr, flush=True)
    return _report(arguments, dispatch(experiment, cluster, arguments, say))


def _report(arguments: Namespace, submission: Submission) -> int:
    from launcher.submission.submission_report import report_json, report_text

    report = report_json(submission)
    if not arguments.json:
        print(report_text(submission), flush=True)
    code = exit_codes.OK if submission.due else exit_codes.NOTHING_TO_DO
    if submission.refusal:
        print(f"the other jobs were refused: {submission.refusal}", file=sys.stderr)
        code = exit_codes.PARTLY_SUBMITTED
    elif arguments.wait and not arguments.dry_run:
        statuses = _wait([run.folder for run in submission.runs], silent=arguments.json)
        report["statuses"] = [attrs.asdict(status) for status in statuses]
        if any(status.state != "finished" for status in statuses):
            code = exit_codes.RUN_FAILED
    if arguments.json:
        _print_json(report)
    return code


def _submit_here(arguments: Namespace, experiment: Experiment) -> int:
    from launcher.monitor.status import read_statuses
    from launcher.submission.debug_run import first_due, run_here
    from launcher.tables import short
    from trainers.exit_codes import FINISHED, STOPPED

    run = first_due(experiment, arguments.overrides, root=arguments.root, dry_run=arguments.dry_run)
    if run is None:
        print("nothing to do: all runs are finished or on their way", file=sys.stderr)
        return exit_codes.NOTHING_TO_DO
    others = [config.name for config in experiment.runs if config.name != run.config.name]
    say = partial(print, file=sys.stderr if arguments.json else sys.stdout, flush=True)
    say(f"run {run.config.name} in this process, data workers too: {short(run.folder.path)}")
    if others:
        say(f"not run: {', '.join(others)}")
    if arguments.dry_run:
        return exit_codes.OK
    exit_status = run_here(run.folder)
    if arguments.json:
        _print_json([attrs.asdict(status) for status in read_statuses([run.folder])])
    codes = {FINISHED: exit_codes.OK, STOPPED: exit_codes.INTERRUPTED}
    return codes.get(exit_status, exit_codes.RUN_FAILED)


def _wait(runs: Sequence[RunFolder], *, silent: bool) -> list[RunStatus]:
    from launcher.monitor.watch import watch

    progress = _progress()
    statuses: list[RunStatus] = []
    for statuses in watch(runs):
        if not silent:
            print(progress.text(statuses, time.monotonic()), end="", flush=True)
    return statuses


def _progress() -> Progress:
    from launcher.monitor.progress import LineProgress, ScreenProgress

    if not sys.stdout.isatty():
        return LineProgress()
    columns, lines = shutil.get_terminal_size()
    return ScreenProgress(columns=columns, lines=lines)


def _status(arguments: Namespace) -> int:
    from launcher.monitor.status import find_runs, read_statuses
    from launcher.monitor.status_table import status_table, summary

    statuses = read_statuses(find_runs(arguments.folder.absolute()))
    data = list(map(attrs.asdict, statuses))
    return _tell(arguments, data, f"{status_table(statuses)}\n{summary(statuses)}")


def _logs(arguments: Namespace) -> int:
    from launcher.arguments import ROOT
    from launcher.monitor.find_run import find_run
    from launcher.monitor.logs import choose_log, log_json, read_log
    from launcher.tables import short

    run = find_run(arguments.run, ROOT)
    if arguments.follow and _follow(run, arguments):
        return exit_codes.OK
    log = choose_log(run, attempt=arguments.attempt, rank=arguments.rank)
    if arguments.json:
        _print_json(log_json(run, log))
    else:
        print(f"==> {short(log.path)} <==", file=sys.stderr, flush=True)
        print(read_log(log), end="")
    return exit_codes.OK


def _follow(run: RunFolder, arguments: Namespace) -> bool:
    """Whether there was something to show."""
    from launcher.monitor.logs import RunLog, follow
    from launcher.monitor.watch import end_of
    from launcher.tables import short

    shown = False
    for part in follow(run, attempt=arguments.attempt, rank=arguments.rank, is_over=end_of(run)):
        shown = True
        if isinstance(part, RunLog):
            print(f"==> {short(part.path)} <==", file=sys.stderr, flush=True)
        else:
            print(part, end="", flush=True)
    return shown


def _explain(arguments: Namespace) -> int:
    from launcher.arguments import ROOT
    from launcher.explain.explanation import explain
    from launcher.explain.explanation_report import explanation_json, explanation_text
    from launcher.explain.run_info import gather
    from launcher.monitor.find_run import find_run

    found = explain(gather(find_run(arguments.run, ROOT)))
    return _tell(arguments, explanation_json(found), explanation_text(found, time.time()))


def _checkpoints(arguments: Namespace) -> int:
    from launcher.arguments import ROOT
    from launcher.monitor.checkpoint_report import (
        ReadingProgress,
        checkpoints_json,
        checkpoints_text,
    )
    from launcher.monitor.checkpoints import find_checkpoints, judging_metric
    from launcher.monitor.find_run import find_run
    from trainers.run.lease import file_system_time

    run, verify = find_run(arguments.run, ROOT), arguments.verify
    progress = ReadingProgress(partial(print, file=sys.stderr, flush=True), time.monotonic)
    found = find_checkpoints(run, verify=verify, tell=progress)
    metric, now = judging_metric(run), file_system_time(run.path)
    data = checkpoints_json(run, found, verified=verify)
    _tell(arguments, data, checkpoints_text(found, metric=metric, verified=verify, now=now))
    is_any_invalid = any(each.state == "not valid" for each in found)
    return exit_codes.NOT_VALID if is_any_invalid else exit_codes.OK


def _profile(arguments: Namespace) -> int:
    from launcher.experiment.experiment import read_experiment
    from launcher.monitor.stream_profile import profile, profile_text

    run = read_experiment(arguments.file, arguments.overrides).runs[0]
    print(f"run {run.name}: {arguments.iterations} iterations", file=sys.stderr, flush=True)
    found = profile(run, arguments.iterations)
    print(file=sys.stderr)
    return _tell(arguments, found, profile_text(found))


def _cancel(arguments: Namespace) -> int:
    from launcher.monitor.status import find_runs
    from launcher.submission.cancel import cancel_runs
    from launcher.tables import table

    runs = [run for folder in arguments.folders for run in find_runs(folder.absolute())]
    outcomes = cancel_runs(list(dict.fromkeys(runs)))
    rows = [(each.name, each.outcome) for each in outcomes]
    return _tell(arguments, list(map(attrs.asdict, outcomes)), table(("RUN", "OUTCOME"), rows))


def _clusters(arguments: Namespace) -> int:
    from launcher.clusters.cluster_search import find_clusters
    from launcher.tables import short, table

    if arguments.name is not None:
        return _explain_cluster(arguments)
    clusters = find_clusters()
    header = ("CLUSTER", "WHAT IT IS", "FROM")
    rows = [(each.name, each.description, short(each.path)) for each in clusters]
    return _tell(arguments, list(map(attrs.asdict, clusters)), table(header, rows))


def _explain_cluster(arguments: Namespace) -> int:
    from launcher.clusters.cluster_report import report_cluster, report_json, report_text
    from launcher.clusters.cluster_search import find_cluster
    from launcher.slurm.client import ask_site

    report = report_cluster(find_cluster(arguments.name), ask_site)
    _tell(arguments, report_json(report), report_text(report))
    if report.problem is None:
        return exit_codes.OK
    return exit_codes.UNUSABLE if report.site else exit_codes.REFUSED


def _tell(arguments: Namespace, data: Any, text: str) -> int:
    if arguments.json:
        _print_json(data)
    else:
        print(text)
    return exit_codes.OK


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=1, default=str))
