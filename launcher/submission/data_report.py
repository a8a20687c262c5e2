"""What was understood of the volumes of an experiment, for the dry run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from launcher.tables import short, table
from trainers.config.run_config import RunConfig
from trainers.datasets.array_info import ArrayInfo, read_array_info
from trainers.errors import DataError

Arrays = Sequence[tuple[str, str, ArrayInfo]]
"""Each with the name of its dataset and its key in it."""


def arrays_of(configs: Iterable[RunConfig]) -> Arrays:
    """Return the arrays of runs, each once; those that cannot be read any more are left out."""
    datasets = dict.fromkeys(dataset for config in configs for dataset in config.datasets)
    found = []
    for dataset in datasets:
        for key, array in dataset.arrays.items():
            try:
                found.append((dataset.name, key, read_array_info(array)))
            except DataError:
                continue
    return found


def arrays_json(arrays: Arrays) -> list[dict[str, Any]]:
    """Return arrays as plain data, with spatial values in z, y, x order."""
    return [
        {
            "dataset": dataset,
            "array": key,
            "path": str(info.path),
            "format": info.driver,
            "dtype": info.dtype,
            "stored_axes": list(info.stored_axes),
            "axes": list(info.axes),
            "shape": list(info.shape),
            "channels": info.num_channels,
            "voxel_size_nm": list(info.voxel_size_nm),
            "begin_nm": list(info.offset_nm),
            "end_nm": list(info.end_nm),
            "value_range": info.value_range and list(info.value_range),
        }
        for dataset, key, info in arrays
    ]


def arrays_text(arrays: Arrays) -> str:
    """Return a table of arrays, with spatial values in z, y, x order."""
    rows = [
        (
            dataset,
            key,
            _by(info.voxel_size_nm),
            _by(info.shape),
            f"{_list(info.offset_nm)} to {_list(info.end_nm)}",
            info.dtype if info.num_channels is None else f"{info.dtype}, {info.num_channels} c",
            " ".join(info.stored_axes),
            short(str(info.path)),
        )
        for dataset, key, info in arrays
    ]
    header = ("DATASET", "ARRAY", "VOXEL nm", "VOXELS", "EXTENT nm", "TYPE", "STORED AXES", "PATH")
    return table(header, rows)


def _by(values: Iterable[float]) -> str:
    return " x ".join(f"{value:.9g}" for value in values)


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.9g}" for value in values)
