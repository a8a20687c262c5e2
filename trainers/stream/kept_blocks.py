"""Results of long searches, kept between runs in the user's cache folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from trainers.atomic_write import atomic_write
from trainers.stream.covered_blocks import CoveredBlocks

_logger = logging.getLogger(__name__)


class KeptBlocks:
    """One file, `$XDG_CACHE_HOME/launch-trainers/covered-blocks/KEY.npz`; it may be deleted.

    Args:
        key: What the blocks depend on; None keeps nothing.
    """

    def __init__(self, key: str | None) -> None:
        self._path = None if key is None else _folder() / f"{key}.npz"

    def read(self) -> CoveredBlocks | None:
        """What was written, or None: then it is to be worked out."""
        if self._path is None or not self._path.exists():
            return None
        try:
            with self._path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                return CoveredBlocks(
                    shape=tuple(file["shape"].tolist()),
                    row_ends=file["row_ends"],
                    runs=file["runs"],
                    max_count=int(file["max_count"]),
                )
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            _logger.warning("%s is of no use, and is made anew: %s", self._path, error)
            return None

    def write(self, blocks: CoveredBlocks) -> None:
        """Keep them, if that is possible."""
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path) as file:
                np.savez(
                    file,
                    shape=blocks.shape,
                    row_ends=blocks.row_ends,
                    runs=blocks.runs,
                    max_count=blocks.max_count,
                )
        except OSError as error:
            _logger.warning("what the mask covers is worked out each time: %s", error)


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "launch-trainers" / "covered-blocks"
