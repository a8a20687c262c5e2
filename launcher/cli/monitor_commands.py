"""The commands that show runs: status, which may heal them, logs, explain, checkpoints, …"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from launcher import exit_codes
from launcher.cli.printing import print_json, print_progress, print_result, print_text
from launcher.experiment.experiment_folder import ROOT

if TYPE_CHECKING:
    from trainers.run.run_folder import RunFolder


def status(arguments: Namespace) -> int:
    if arguments.usage:
        return _usage(arguments)
    from launcher.cli.screen import print_lines, screen_width, wait_for_runs
    from launcher.monitor.find_run import find_targets
    from launcher.monitor.status import RunStatus, read_statuses
    from launcher.monitor.status_table import select, status_lines, summary
    from launcher.monitor.table_layout import Line

    def choose(statuses: Sequence[RunStatus]) -> list[RunStatus]:
        chosen = select(statuses, states=arguments.state, sort=arguments.sort)
        return chosen[: arguments.limit]

    runs = find_targets(arguments.targets, ROOT)
    if arguments.heal:
        return _heal(runs, arguments)
    if arguments.watch:
        wait_for_runs(runs, choose=choose, is_sorted=arguments.sort is not None)
        return exit_codes.OK
    statuses = read_statuses(runs)
    chosen = choose(statuses)
    if arguments.json:
        print_json(list(map(attrs.asdict, chosen)))
        return exit_codes.OK
    left = len(statuses) - len(chosen)
    last = summary(statuses) + (f"; {left} not shown" if left else "")
    encoding = sys.stdout.encoding or "utf-8"
    lines = status_lines(chosen, width=screen_width(), encoding=encoding) if chosen else []
    print_lines([*lines, Line(text=last)])
    return exit_codes.OK


def _heal(runs: Sequence[RunFolder], arguments: Namespace) -> int:
    from launcher.submission.heal import heal_runs
    from launcher.tables import table

    healed = heal_runs(runs)
    rows = [(each.experiment, each.pack, ", ".join(each.runs), each.outcome) for each in healed]
    header = ("EXPERIMENT", "PACK", "RUNS", "OUTCOME")
    text = table(header, rows) if rows else "nothing to do: no run waits without a job"
    print_result(arguments, list(map(attrs.asdict, healed)), text)
    submitted, failed = any(each.job_id for each in healed), any(each.failed for each in healed)
    if failed:
        return exit_codes.PARTLY_SUBMITTED if submitted else exit_codes.REFUSED
    return exit_codes.OK if submitted else exit_codes.NOTHING_TO_DO


def _usage(arguments: Namespace) -> int:
    from launcher.monitor.find_run import find_targets
    from launcher.monitor.usage import read_usage, usage_table

    usages = read_usage(find_targets(arguments.targets, ROOT))
    return print_result(arguments, list(map(attrs.asdict, usages)), usage_table(usages))


def logs(arguments: Namespace) -> int:
    from launcher.monitor.find_run import find_run
    from launcher.monitor.logs import choose_job_log, choose_log, log_json, read_log

    run = find_run(arguments.run, ROOT)
    if arguments.follow and _follow(run, arguments):
        return exit_codes.OK
    log = (
        choose_job_log(run)
        if arguments.job
        else choose_log(run, attempt=arguments.attempt, rank=arguments.rank)
    )
    if arguments.json:
        print_json(log_json(run, log))
    else:
        print_progress(_log_header(log.path))
        print_text(read_log(log), end="")
    return exit_codes.OK


def _follow(run: RunFolder, arguments: Namespace) -> bool:
    """Print a log as it grows; return whether there was something to show."""
    from launcher.monitor.logs import RunLog, follow
    from launcher.monitor.watch import make_is_over

    shown = False
    for part in follow(
        run, attempt=arguments.attempt, rank=arguments.rank, is_over=make_is_over(run)
    ):
        shown = True
        if isinstance(part, RunLog):
            print_progress(_log_header(part.path))
        else:
            print_text(part, end="")
    return shown


def _log_header(path: object) -> str:
    from launcher.tables import short

    return f"==> {short(str(path))} <=="


def explain(arguments: Namespace) -> int:
    from launcher.explain.explanation import explain as explain_run
    from launcher.explain.explanation_report import explanation_json, explanation_text
    from launcher.explain.run_info import read_run_info
    from launcher.monitor.find_run import find_run

    found = explain_run(read_run_info(find_run(arguments.run, ROOT)))
    return print_result(arguments, explanation_json(found), explanation_text(found, time.time()))


def checkpoints(arguments: Namespace) -> int:
    from launcher.monitor.checkpoint_report import (
        ReadingProgress,
        checkpoints_json,
        checkpoints_text,
    )
    from launcher.monitor.checkpoints import CheckpointState, find_checkpoints, judging_metric
    from launcher.monitor.find_run import find_run
    from trainers.run.lease_file import file_system_time

    run, verify = find_run(arguments.run, ROOT), arguments.verify
    progress = ReadingProgress(print_progress, time.monotonic)
    found = find_checkpoints(run, verify=verify, on_read=progress)
    metric, now = judging_metric(run), file_system_time(run.path)
    data = checkpoints_json(run, found, verified=verify)
    text = checkpoints_text(found, metric=metric, verified=verify, now=now)
    print_result(arguments, data, text)
    states = {each.state for each in found}
    if CheckpointState.NOT_VALID in states:
        return exit_codes.NOT_VALID
    return exit_codes.UNAVAILABLE if CheckpointState.UNREADABLE in states else exit_codes.OK


def profile(arguments: Namespace) -> int:
    from launcher.experiment.experiment import read_experiment
    from launcher.monitor.stream_profile import profile as profile_run
    from launcher.monitor.stream_profile import profile_text

    run = read_experiment(arguments.file, arguments.overrides).runs[0]
    print_progress(f"run {run.name}: {arguments.iterations} iterations")
    found = profile_run(run, arguments.iterations)
    print_progress("")
    return print_result(arguments, found, profile_text(found))


def notify(arguments: Namespace) -> int:
    from launcher.experiment.experiment import read_experiment
    from launcher.notify.channels import try_channels
    from launcher.tables import table

    experiment = read_experiment(arguments.file, arguments.overrides)
    found = try_channels(experiment, ROOT.absolute())
    if not found:
        print_progress(f"nothing to do: {arguments.file} names nobody under notify")
        return exit_codes.NOTHING_TO_DO
    rows = [(each.channel, each.result) for each in found]
    print_result(arguments, list(map(attrs.asdict, found)), table(("CHANNEL", "RESULT"), rows))
    return exit_codes.UNAVAILABLE if any(each.failed for each in found) else exit_codes.OK


def clusters(arguments: Namespace) -> int:
    from launcher.clusters.cluster_search import find_clusters
    from launcher.tables import short, table

    if arguments.name is not None:
        return _explain_cluster(arguments)
    found = find_clusters()
    header = ("CLUSTER", "WHAT IT IS", "FROM")
    rows = [(each.name, each.description, short(each.path)) for each in found]
    return print_result(arguments, list(map(attrs.asdict, found)), table(header, rows))


def _explain_cluster(arguments: Namespace) -> int:
    from launcher.clusters.cluster_report import report_cluster, report_json, report_text
    from launcher.clusters.cluster_search import open_cluster
    from launcher.slurm.client import ask_site

    report = report_cluster(open_cluster(arguments.name), ask_site)
    print_result(arguments, report_json(report), report_text(report))
    if report.problem is None:
        return exit_codes.OK
    return exit_codes.UNUSABLE if report.site else exit_codes.REFUSED
