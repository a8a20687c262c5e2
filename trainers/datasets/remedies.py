"""What to do about volumes that cannot be read: settings, and commands that convert them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.datasets.remote_path import VolumePath
from trainers.errors import DataError

if TYPE_CHECKING:
    from trainers.datasets.array_info import ArrayInfo

ABSENT = "NOT_FOUND: chunk"
"""Begins what TensorStore says about a chunk without a file."""
REFUSED = ("NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED")
"""Begin what TensorStore says about what is not there, or not allowed."""

_UNKNOWN_ENCODING = re.compile(
    "not registered|not supported|unsupported|extra members|Expected one of", re.IGNORECASE
)
"""In what TensorStore says about codecs, filters and encodings that it does not read."""
_HEAD_BYTES = 8
_FILES = {
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"PK": "zip",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\x93NUMPY": "NumPy",
}
"""Formats of files by their first bytes."""
_BY_DASK = (
    'python -c "import dask.array as d{also}; '
    "d.from_{source}.to_zarr('{target}', component='s0')\""
)


def refuse_file(path: Path, array: str) -> None:
    """Raise a DataError if there is a file, where the folder of a volume should be.

    Args:
        array: What was asked for in it.
    """
    container = next((each for each in (path, *path.parents) if each.is_file()), None)
    if container is None:
        return
    with container.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    name = next((name for magic, name in _FILES.items() if head.startswith(magic)), None)
    kind = f"a file in the format {name}" if name else "a file"
    raise DataError(
        f"{container}: is {kind}; expected the folder of a zarr, N5 or precomputed volume"
        f"{_conversion(container, name, (path / array).relative_to(container))}"
    )


def remedy(info: ArrayInfo, error: Exception) -> str:
    """Return what to do about an error of TensorStore, as the end of its message; "" if unknown."""
    text = str(error)
    if text.startswith(ABSENT):
        return (
            ". If chunks of this volume were never written because they are empty, set "
            "`absent_chunks: fill`; otherwise it is lost, and has to be restored"
        )
    if text.startswith(REFUSED):
        return (
            ". Check the credentials. A bucket without the right to list it also refuses what it "
            "does not have: for chunks that were never written, grant the right to list"
        )
    if _UNKNOWN_ENCODING.search(text):
        return _conversion_of_array(info.driver, info.path)
    return ""


def _conversion_of_array(driver: str, path: VolumePath) -> str:
    if driver == "neuroglancer_precomputed":
        return f". Convert it: igneous image xfer {path} TARGET --encoding raw"
    if driver == "n5":
        return (
            f". Convert it (https://github.com/saalfeldlab/n5-utils): n5-copy -i {path.parent} "
            f"-o TARGET -d /{path.name} -c gzip"
        )
    command = _BY_DASK.format(also="", source=f"zarr('{path}')", target=_target(path))
    return f". Convert it (pip install dask zarr): {command}"


def _conversion(path: Path, name: str | None, inside: Path) -> str:
    target = _target(path)
    match name:
        case "zip":
            return f"; unpack it: unzip {path} -d {target}"
        case "HDF5":
            dataset = inside.as_posix() if inside.parts else "DATASET"
            source = f"array(h5py.File('{path}')['{dataset}'])"
            command = _BY_DASK.format(also=", h5py", source=source, target=target)
            return f"; convert it (pip install dask zarr h5py): {command}"
        case "TIFF":
            command = f"import tifffile, zarr; zarr.save('{target}', tifffile.imread('{path}'))"
            return f'; convert it (pip install tifffile zarr): python -c "{command}"'
        case "NumPy":
            command = f"import numpy, zarr; zarr.save('{target}', numpy.load('{path}'))"
            return f'; convert it (pip install zarr): python -c "{command}"'
    return ""


def _target(path: VolumePath) -> str:
    """Return the name of the folder for a converted volume, beside where the command is run."""
    stem = path.name.partition(".")[0]
    return f"{stem}-converted.zarr" if path.name == f"{stem}.zarr" else f"{stem}.zarr"
