"""Whether the sections of a run fit each other, and the files that they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from trainers.architectures.architecture_config import ArchitectureConfig
from trainers.config_faults import Fault, Key
from trainers.datasets.array_info import ArrayInfo, read_array_info
from trainers.datasets.compatibility import dataset_faults
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig
from trainers.datasets.sample_points import read_sample_points
from trainers.errors import DataError
from trainers.gp_augments.spatial_configs import ElasticAugmentConfig
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
from trainers.tasks.task_configs import AffinitiesTaskConfig

_JUDGED = ("datasets", "architecture", "task", "trainer", "python_path")


class RunFit:
    """Finds what does not fit; looks at the sections and arrays that runs share once."""

    def __init__(self) -> None:
        self._info = cache(_info)
        self._points = cache(_fault_of_points)
        self._faults: dict[tuple[int, ...], tuple[list[Any], list[Fault]]] = {}
        """By the identities of the sections, which are kept, so that no others take their place."""

    def faults(self, sections: Mapping[str, Any]) -> list[Fault]:
        """What does not fit in one run.

        Args:
            sections: Fields of a RunConfig by name; those that are malformed are left out.
        """
        judged = [sections.get(name) for name in _JUDGED]
        key = tuple(map(id, judged))
        if key not in self._faults:
            self._faults[key] = (judged, list(self._find(sections)))
        return self._faults[key][1]

    def _find(self, sections: Mapping[str, Any]) -> Iterator[Fault]:
        datasets: Sequence[DatasetConfig] = sections.get("datasets", ())
        architecture: ArchitectureConfig | None = sections.get("architecture")
        for position, dataset in enumerate(datasets):
            for fault in self._faults_of_dataset(dataset, architecture):
                yield fault.under("datasets", position)
        yield from self._unlike_the_first(datasets)
        if isinstance(sections.get("trainer"), GunpowderTrainerConfig):
            yield from _missing_ground_truth(datasets)
        if architecture is not None:
            yield from _different_axes(sections, len(architecture.input_shape))
        for position, folder in enumerate(sections.get("python_path", ())):
            if not folder.is_dir():
                yield Fault(("python_path", position), f"found {folder}, which is no folder")

    def _faults_of_dataset(
        self, dataset: DatasetConfig, architecture: ArchitectureConfig | None
    ) -> Iterator[Fault]:
        if dataset.sample_points is not None and architecture is not None:
            fault = self._points(dataset.sample_points, len(architecture.input_shape))
            if fault is not None:
                yield Fault(("sample_points",), fault)
        arrays = {"raw": dataset.raw, "gt": dataset.gt, "mask": dataset.mask}
        looks = {name: self._info(array) for name, array in arrays.items() if array is not None}
        for name, look in looks.items():
            if isinstance(look, DataError):
                yield Fault((name,), str(look))
        infos = {name: look for name, look in looks.items() if isinstance(look, ArrayInfo)}
        if architecture is not None and len(infos) == len(looks):
            for key, message in dataset_faults(
                dataset,
                infos,
                input_shape=architecture.input_shape,
                output_shape=architecture.output_shape,
                output_scale=architecture.scale((1.0,) * len(architecture.input_shape)),
            ):
                yield Fault(tuple(key.split(".")), message)

    def _unlike_the_first(self, datasets: Sequence[DatasetConfig]) -> Iterator[Fault]:
        """Raw arrays that one network cannot see side by side: it sees voxels, not nanometres."""
        looks = [self._info(dataset.raw) for dataset in datasets]
        known = [position for position, look in enumerate(looks) if isinstance(look, ArrayInfo)]
        for position in known[1:]:
            name, first, look = datasets[known[0]].name, looks[known[0]], looks[position]
            assert isinstance(first, ArrayInfo) and isinstance(look, ArrayInfo)
            key = ("datasets", position, "raw")
            channels, expected = look.num_channels or 1, first.num_channels or 1
            if channels != expected:
                yield Fault(key, f"found {channels} channels; must be {expected}, as in {name}")
            if look.voxel_size_nm != first.voxel_size_nm:
                yield Fault(
                    key,
                    f"found voxels of {list(look.voxel_size_nm)} nm; must be "
                    f"{list(first.voxel_size_nm)}, as in {name}; name the scale level with that "
                    "voxel size, or resample the volume",
                )


def _info(array: ArrayConfig) -> ArrayInfo | DataError:
    try:
        return read_array_info(array)
    except DataError as error:
        return error


def _fault_of_points(path: Path, num_axes: int) -> str | None:
    if not path.is_file():
        return f"found {path}, which is no file"
    try:
        read_sample_points(path, num_axes)
    except DataError as error:
        return str(error)
    return None


def _missing_ground_truth(datasets: Sequence[DatasetConfig]) -> Iterator[Fault]:
    for position, dataset in enumerate(datasets):
        if dataset.gt is None:
            yield Fault(("datasets", position, "gt"), "required key is missing; training needs it")


def _different_axes(sections: Mapping[str, Any], num_axes: int) -> Iterator[Fault]:
    """Values of which each stands for one axis, but which are more or fewer than the axes."""
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
