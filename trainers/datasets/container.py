"""What a container holds."""

from __future__ import annotations

import os
from pathlib import Path

from trainers.datasets.n5_array import is_n5_array
from trainers.datasets.zarr_array import is_zarr_array

_MAX_FOLDERS = 1000


def array_names(container: Path) -> list[str]:
    """Names of the zarr and N5 arrays in a folder, sorted; a very large folder is not finished."""
    names = []
    for count, (folder, subfolders, _) in enumerate(os.walk(container)):
        if is_zarr_array(Path(folder)) or is_n5_array(Path(folder)):
            names.append(Path(folder).relative_to(container).as_posix())
            subfolders.clear()  # chunks
        if count == _MAX_FOLDERS:
            break
    return sorted(names)
