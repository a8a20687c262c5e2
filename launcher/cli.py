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
from launcher.errors import DoesNotFitError, LauncherError, SubmissionError
from trainers.errors import TrainerError

if TYPE_CHECKING:
    from launcher.cluster_config import LocalClusterConfig
    from launcher.experiment import Experiment
    from launcher.progress import Progress
    from launcher.status import RunStatus
    from trainers.run_folder import RunFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; the result is one of `launcher.exit_codes`."""
    arguments = parse(argv)
    commands = {"submit": _submit, "status": _status, "cancel": _cancel, "clusters": _clusters}
    try:
        code = commands[arguments.command](arguments)
        sys.stdout.flush()
    except DoesNotFitError as error:
        return _refuse(error, exit_codes.DOES_NOT_FIT)
    except SubmissionError as error:
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
    from launcher.cluster_config import DebugClusterConfig, read_cluster
    from launcher.cluster_search import find_cluster
    from launcher.experiment import read_experiment
    from launcher.plan import refuse_invalid

    cluster = read_cluster(find_cluster(arguments.cluster))
    experiment = read_experiment(arguments.file, arguments.overrides)
    if not arguments.allow_invalid:
        refuse_invalid(experiment.runs)
    if isinstance(cluster, DebugClusterConfig):
        return _submit_here(arguments, experiment)
    return _submit_locally(arguments, experiment, cluster)


def _submit_locally(
    arguments: Namespace, experiment: Experiment, cluster: LocalClusterConfig
) -> int:
    from launcher.submission import submit_locally
    from launcher.submission_report import report_json, report_text

    submission = submit_locally(
        experiment,
        arguments.overrides,
        cluster,
        root=arguments.root,
        dry_run=arguments.dry_run,
    )
    report = report_json(submission)
    if not arguments.json:
        print(report_text(submission), flush=True)
    code = exit_codes.OK if submission.due else exit_codes.NOTHING_TO_DO
    if arguments.wait and not arguments.dry_run:
        statuses = _wait([run.folder for run in submission.runs], silent=arguments.json)
        report["statuses"] = [attrs.asdict(status) for status in statuses]
        if any(status.state != "finished" for status in statuses):
            code = exit_codes.RUN_FAILED
    if arguments.json:
        _print_json(report)
    return code


def _submit_here(arguments: Namespace, experiment: Experiment) -> int:
    from launcher.debug_run import first_due, run_here
    from launcher.status import read_statuses
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
    from launcher.watch import watch

    progress = _progress()
    statuses: list[RunStatus] = []
    for statuses in watch(runs):
        if not silent:
            print(progress.text(statuses, time.monotonic()), end="", flush=True)
    return statuses


def _progress() -> Progress:
    from launcher.progress import LineProgress, ScreenProgress

    if not sys.stdout.isatty():
        return LineProgress()
    columns, lines = shutil.get_terminal_size()
    return ScreenProgress(columns=columns, lines=lines)


def _status(arguments: Namespace) -> int:
    from launcher.status import find_runs, read_statuses
    from launcher.tables import status_table, summary

    statuses = read_statuses(find_runs(arguments.folder.absolute()))
    if arguments.json:
        _print_json([attrs.asdict(status) for status in statuses])
    else:
        print(status_table(statuses))
        print(summary(statuses))
    return exit_codes.OK


def _cancel(arguments: Namespace) -> int:
    from launcher.cancel import cancel_runs
    from launcher.status import find_runs
    from launcher.tables import table

    runs = [run for folder in arguments.folders for run in find_runs(folder.absolute())]
    outcomes = cancel_runs(list(dict.fromkeys(runs)))
    if arguments.json:
        _print_json([attrs.asdict(outcome) for outcome in outcomes])
    else:
        print(table(("RUN", "OUTCOME"), [(each.name, each.outcome) for each in outcomes]))
    return exit_codes.OK


def _clusters(arguments: Namespace) -> int:
    from launcher.cluster_search import find_clusters
    from launcher.tables import short, table

    clusters = find_clusters()
    if arguments.json:
        _print_json([attrs.asdict(cluster) for cluster in clusters])
    else:
        header = ("CLUSTER", "WHAT IT IS", "FROM")
        rows = [(each.name, each.description, short(each.path)) for each in clusters]
        print(table(header, rows))
    return exit_codes.OK


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=1, default=str))
