"""Check that the sections of a run fit each other and the files that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from launcher.errors import LauncherError
from launcher.experiment.folder_walk import matching
from launcher.experiment.import_paths import find_module, import_fault
from launcher.experiment.own_packages import import_paths
from trainers.architectures.architecture_config import ArchitectureConfig
from trainers.config.run_config import RunConfig
from trainers.config_faults import Fault, Key
from trainers.datasets.array_info import ArrayInfo, read_array_info
from trainers.datasets.compatibility import dataset_faults
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig
from trainers.datasets.formats.stored_array import same_size
from trainers.datasets.sample_points import read_sample_points
from trainers.errors import DataError
from trainers.gp_augments.spatial_configs import ElasticAugmentConfig
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
from trainers.tasks.task_configs import AffinitiesTaskConfig

_CHECKED = ("datasets", "architecture", "task", "trainer", "python_path", "code_include")


TryArrays = Callable[[Sequence[ArrayInfo]], Sequence[str | None]]
"""Opens arrays; returns why a trainer could not read each, or None."""


class RunChecks:
    """Finds what does not fit; sections and arrays that runs share are checked once."""

    def __init__(self) -> None:
        self._info = cache(_info)
        self._points_fault = cache(_points_fault)
        self._import_fault = cache(import_fault)
        self._faults: dict[tuple[int, ...], tuple[list[Any], list[Fault]]] = {}
        """By the ids of the sections, which are kept here too: Python reuses the ids of deleted
        objects."""

    def faults(self, sections: Mapping[str, Any]) -> list[Fault]:
        """Return what does not fit in one run.

        Args:
            sections: Fields of a RunConfig by name; malformed ones are left out.
        """
        checked = [sections.get(name) for name in _CHECKED]
        key = tuple(map(id, checked))
        if key not in self._faults:
            self._faults[key] = (checked, list(self._find(sections)))
        return self._faults[key][1]

    def unreadable(self, runs: Sequence[RunConfig], try_arrays: TryArrays) -> Iterator[list[Fault]]:
        """Yield for each run the arrays that it could not read; each array is opened once.

        Args:
            runs: Without other faults.
        """
        arrays = {
            array: info
            for run in runs
            if isinstance(run.trainer, GunpowderTrainerConfig)  # others read none
            for dataset in run.datasets
            for array in dataset.arrays.values()
            if isinstance(info := self._info(array), ArrayInfo)
        }
        problems = dict(zip(arrays, try_arrays(list(arrays.values())), strict=True))
        for run in runs:
            yield [
                Fault(("datasets", position, name), problem)
                for position, dataset in enumerate(run.datasets)
                for name, array in dataset.arrays.items()
                if (problem := problems.get(array))
            ]

    def _find(self, sections: Mapping[str, Any]) -> Iterator[Fault]:
        datasets: Sequence[DatasetConfig] = sections.get("datasets", ())
        architecture: ArchitectureConfig | None = sections.get("architecture")
        for position, dataset in enumerate(datasets):
            for fault in self._faults_of_dataset(dataset, architecture):
                yield fault.under("datasets", position)
        yield from self._different_raw(datasets)
        if isinstance(sections.get("trainer"), GunpowderTrainerConfig):
            yield from _missing_ground_truth(datasets)
        if architecture is not None:
            yield from _different_axes(sections, len(architecture.input_shape))
        python_path: Sequence[Path] = sections.get("python_path", ())
        for position, folder in enumerate(python_path):
            if not folder.is_dir():
                yield Fault(("python_path", position), f"found {folder}, which is not a directory")
        for section in ("architecture", "trainer"):
            for key, import_path in import_paths(sections.get(section), (section,)):
                if message := self._import_fault(import_path, tuple(python_path)):
                    yield Fault(key, message)
        yield from _patterns_without_files(sections)

    def _faults_of_dataset(
        self, dataset: DatasetConfig, architecture: ArchitectureConfig | None
    ) -> Iterator[Fault]:
        if dataset.sample_points is not None and architecture is not None:
            fault = self._points_fault(dataset.sample_points, len(architecture.input_shape))
            if fault is not None:
                yield Fault(("sample_points",), fault)
        arrays = {"raw": dataset.raw, "gt": dataset.gt, "mask": dataset.mask}
        results = {name: self._info(array) for name, array in arrays.items() if array is not None}
        for name, result in results.items():
            if isinstance(result, DataError):
                yield Fault((name,), str(result))
        num_axes = 3 if architecture is None else len(architecture.input_shape)
        infos = {
            name: result.with_axes(num_axes)
            for name, result in results.items()
            if isinstance(result, ArrayInfo)
        }
        if architecture is not None and len(infos) == len(results):
            for key, message in dataset_faults(
                dataset,
                infos,
                input_shape=architecture.input_shape,
                output_shape=architecture.output_shape,
                output_scale=architecture.scale((1.0,) * len(architecture.input_shape)),
            ):
                yield Fault(tuple(key.split(".")), message)

    def _different_raw(self, datasets: Sequence[DatasetConfig]) -> Iterator[Fault]:
        """Yield raw arrays unlike the first: a network sees voxels, so all need one voxel size."""
        results = [self._info(dataset.raw) for dataset in datasets]
        known = [
            position for position, result in enumerate(results) if isinstance(result, ArrayInfo)
        ]
        for position in known[1:]:
            name, first, result = datasets[known[0]].name, results[known[0]], results[position]
            assert isinstance(first, ArrayInfo) and isinstance(result, ArrayInfo)
            key = ("datasets", position, "raw")
            channels, expected = result.num_channels or 1, first.num_channels or 1
            if channels != expected:
                yield Fault(key, f"found {channels} channels; must be {expected}, as in {name}")
            if not same_size(result.voxel_size_nm, first.voxel_size_nm):
                yield Fault(
                    key,
                    f"found voxels of {list(result.voxel_size_nm)} nm; must be "
                    f"{list(first.voxel_size_nm)}, as in {name}; name the scale level with that "
                    "voxel size, or resample the volume",
                )


def _info(array: ArrayConfig) -> ArrayInfo | DataError:
    try:
        return read_array_info(array)
    except DataError as error:
        return error


def _points_fault(path: Path, num_axes: int) -> str | None:
    if not path.is_file():
        return f"found {path}, which is not a file"
    try:
        read_sample_points(path, num_axes)
    except DataError as error:
        return str(error)
    return None


def _missing_ground_truth(datasets: Sequence[DatasetConfig]) -> Iterator[Fault]:
    for position, dataset in enumerate(datasets):
        if dataset.gt is None:
            yield Fault(("datasets", position, "gt"), "required key is missing; training needs it")


def _patterns_without_files(sections: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield patterns that match no file; one below an installed package is not looked at."""
    folders = sections.get("python_path", ())
    for position, pattern in enumerate(sections.get("code_include", ())):
        first = pattern.partition("/")[0]
        try:
            if any(next(matching(each, [pattern], apart_from=each), None) for each in folders):
                continue
        except LauncherError:  # too many files: where they are to be copied, this is refused
            continue
        if first.isidentifier() and find_module(first, ()):
            continue
        yield Fault(
            ("code_include", position),
            f"found {pattern!r}, which matches no file below "
            f"{', '.join(map(str, folders)) or 'python_path, which is empty'}",
        )


def _different_axes(sections: Mapping[str, Any], num_axes: int) -> Iterator[Fault]:
    """Yield lists that need one value per axis, and have more or fewer."""
    found: list[tuple[Key, int]] = []
    task = sections.get("task")
    if isinstance(task, AffinitiesTaskConfig):
        found.append((("task", "neighborhood", 0), len(task.neighborhood[0])))
    trainer = sections.get("trainer")
    if isinstance(trainer, GunpowderTrainerConfig):
        found += [
            (
                ("trainer", "augments", position, "control_point_spacing"),
                len(augment.control_point_spacing),
            )
            for position, augment in enumerate(trainer.augments)
            if isinstance(augment, ElasticAugmentConfig)
        ]
    for key, length in found:
        if length != num_axes:
            yield Fault(
                key,
                f"found {length} values; must be {num_axes}, one for each axis of "
                "architecture.input_shape",
            )
