"""The command `launch sync`."""

from __future__ import annotations

import time
from argparse import Namespace
from collections import Counter

import attrs

from launcher import exit_codes
from launcher.cli.printing import print_progress, print_result
from launcher.experiment.experiment_folder import ROOT

FOLLOW_S = 60.0
"""Between two looks at runs that go on."""


def sync(arguments: Namespace) -> int:
    from launcher.monitor.find_run import find_targets
    from launcher.monitor.wandb_sync import SyncResult, sync_runs
    from launcher.tables import counted

    while True:
        runs = find_targets(arguments.targets, ROOT)
        results: list[SyncResult] = []
        began = time.monotonic()
        for result in sync_runs(runs):
            results.append(result)
            if result.outcome not in ("complete", "disabled"):
                print_progress(_line(result, len(results), len(runs), time.monotonic() - began))
        counts = Counter(each.outcome for each in results)
        summary = f"{len(results)} runs: {counted(counts)}"
        if not arguments.follow:
            print_result(arguments, list(map(attrs.asdict, results)), summary)
            return exit_codes.UNAVAILABLE if counts["failed"] else exit_codes.OK
        if set(counts) - {"complete", "disabled"}:
            print_progress(f"{summary}; looking again every {FOLLOW_S:.0f} s, until Ctrl-C")
        time.sleep(FOLLOW_S)


def _line(result: object, number: int, total: int, seconds: float) -> str:
    from pathlib import Path

    from launcher.monitor.wandb_sync import SyncResult

    assert isinstance(result, SyncResult)
    what = result.outcome
    if result.iteration is not None and result.after is not None:
        what = f"iterations {result.after + 1} to {result.iteration}"
        if result.iteration == result.after:
            what = "no new rows"
    elif result.outcome == "open":
        what = "left alone: reported at the moment"
    elif result.reason:
        what = result.reason
    return f"[{number}/{total}, {seconds:.0f} s] {Path(result.folder).name}: {what}"
