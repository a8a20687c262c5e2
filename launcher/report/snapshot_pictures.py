"""Pictures of the newest snapshots of runs, where what draws them is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from attrs import frozen

from launcher.report.results import RunResult
from trainers.errors import DataError

MAX_PICTURE_BYTES = 200_000
_MAX_BYTES = 4_000_000
"""Of all pictures of a page, as long as each may have MIN_PICTURE_BYTES."""
MIN_PICTURE_BYTES = 40_000
_MAX_TRIED = 3
"""Snapshots of a run, the newest first, until one can be drawn."""
_NOT_INSTALLED = (
    "no pictures: this Python cannot draw snapshots ({error}). Where `launch-trainers[train]` is "
    "installed, the same command draws them."
)


@frozen(kw_only=True)
class SnapshotPicture:
    """The picture of a run's newest snapshot that can be drawn; without bytes if there is none."""

    png: bytes = b""
    iteration: int = 0
    problems: tuple[str, ...] = ()


@frozen
class SnapshotPictures:
    """The pictures of a page."""

    of_runs: Sequence[SnapshotPicture]
    problem: str = ""
    """Why there are none at all."""


def draw_pictures(
    results: Sequence[RunResult], on_picture: Callable[[int, int], None]
) -> SnapshotPictures:
    """Return a picture for each run.

    Args:
        on_picture: Called with the number of runs that are done, and of all.
    """
    found = [_newest(result) for result in results]
    num_pictures = sum(map(bool, found))
    if not num_pictures:
        return SnapshotPictures([SnapshotPicture() for _ in results])
    try:
        from trainers.snapshots.snapshot_picture import snapshot_picture
    except ImportError as error:
        nothing = [SnapshotPicture() for _ in results]
        return SnapshotPictures(nothing, _NOT_INSTALLED.format(error=error))
    max_bytes = min(MAX_PICTURE_BYTES, max(MIN_PICTURE_BYTES, _MAX_BYTES // num_pictures))
    pictures = []
    for snapshots in found:
        pictures.append(_draw(snapshots, partial(snapshot_picture, max_bytes=max_bytes)))
        on_picture(len(pictures), len(results))
    return SnapshotPictures(pictures)


def _newest(result: RunResult) -> list[Path]:
    try:
        names = [path for path in result.folder.snapshots.iterdir() if path.name.isdecimal()]
    except OSError:  # none yet, or not readable
        return []
    return sorted(names, key=lambda path: int(path.name))[: -_MAX_TRIED - 1 : -1]


def _draw(snapshots: Sequence[Path], draw: Callable[[Path], bytes]) -> SnapshotPicture:
    problems: list[str] = []
    for snapshot in snapshots:
        try:
            png = draw(snapshot)
        except (DataError, OSError) as error:
            problems.append(str(error))
            continue
        return SnapshotPicture(png=png, iteration=int(snapshot.name), problems=tuple(problems))
    return SnapshotPicture(problems=tuple(problems))
