"""File systems that fail, or are full, for a while; and a node whose GPUs cannot be used."""

from __future__ import annotations

import errno
import time
from functools import partial
from pathlib import Path

from scripts.stress.storm_packs.faults import Fault, Faults

DISK_FULL_S = 20.0
NODE_BROKEN_S = 15.0


def data_eio(storm: Faults) -> Fault:
    return _data(storm, "data_eio", errno.EIO)


def data_enoent(storm: Faults) -> Fault:
    return _data(storm, "data_enoent", errno.ENOENT)


def runs_eio(storm: Faults) -> Fault:
    return _runs(storm, "runs_eio", errno.EIO)


def runs_enoent(storm: Faults) -> Fault:
    return _runs(storm, "runs_enoent", errno.ENOENT)


def disk_full(storm: Faults) -> Fault | None:
    disk, began = storm.outside.disk, time.time()
    if disk.is_full:
        return None
    disk.fill()
    storm.later(began + DISK_FULL_S, disk.empty)
    return Fault(
        kind="disk_full",
        time=began,
        seconds=DISK_FULL_S,
        what=f"for {DISK_FULL_S:.0f} s",
        runs=storm.round.names,
    )


def break_node(storm: Faults) -> Fault | None:
    """Attempts that begin on it find no GPU. Always the same one: the launcher avoids it then."""
    node, began = storm.outside.weak_node, time.time()
    mark = storm.round.runs.broken_node(node)
    if mark.exists():
        return None
    mark.touch()
    storm.later(began + NODE_BROKEN_S, partial(mark.unlink, missing_ok=True))
    return Fault(
        kind="break_node",
        time=began,
        seconds=NODE_BROKEN_S,
        what=f"{node}, for {NODE_BROKEN_S:.0f} s",
        runs=storm.round.names,
    )


def _data(storm: Faults, kind: str, number: int) -> Fault:
    folder, runs = storm.round.runs.data, storm.round.runs.readers
    return _window(storm, kind, number, [folder], runs)


def _runs(storm: Faults, kind: str, number: int) -> Fault:
    folders = [each.runs for each in storm.round.experiments]
    return _window(storm, kind, number, folders, storm.round.names)


def _window(storm: Faults, kind: str, number: int, folders: list[Path], runs: list[str]) -> Fault:
    began, seconds = time.time(), storm.draw.uniform(1, 5)
    for folder in folders:
        storm.outside.windows.open(folder, number, seconds=seconds)
    what = f"{errno.errorcode[number]}, for {seconds:.1f} s"
    return Fault(kind=kind, time=began, seconds=seconds, what=what, runs=runs)
