"""Whether the sections of a run fit each other, and the files that they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from trainers.architectures.architecture_config import ArchitectureConfig
from trainers.datasets.array_config import ArrayConfig
from trainers.datasets.array_info import ArrayInfo, read_array_info
from trainers.datasets.dataset_config import DatasetConfig
from trainers.datasets.fit import dataset_faults
from trainers.errors import DataError
from trainers.faults import Fault, Key
from trainers.gp_augments.elastic_config import ElasticAugmentConfig
from trainers.gunpowder_trainer_config import GunpowderTrainerConfig
from trainers.tasks.affinities_config import AffinitiesTaskConfig


class RunFit:
    """Finds what does not fit; looks at every array once, however many runs name it."""

    def __init__(self) -> None:
        self._info = cache(_info)

    def faults(self, sections: Mapping[str, Any]) -> Iterator[Fault]:
        """What does not fit in one run.

        Args:
            sections: Fields of a RunConfig by name; those that are malformed are left out.
        """
        datasets: Sequence[DatasetConfig] = sections.get("datasets", ())
        architecture: ArchitectureConfig | None = sections.get("architecture")
        for position, dataset in enumerate(datasets):
            for fault in self._faults_of_dataset(dataset, architecture):
                yield fault.under("datasets", position)
        yield from self._different_channels(datasets)
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
        points = dataset.sample_points
        if points is not None and not points.is_file():
            yield Fault(("sample_points",), f"found {points}, which is no file")
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

    def _different_channels(self, datasets: Sequence[DatasetConfig]) -> Iterator[Fault]:
        looks = [(dataset, self._info(dataset.raw)) for dataset in datasets]
        channels = {
            dataset.name: look.num_channels or 1
            for dataset, look in looks
            if isinstance(look, ArrayInfo)
        }
        first = next(iter(channels), "")
        for position, dataset in enumerate(datasets):
            found = channels.get(dataset.name)
            if found not in (None, channels.get(first)):
                message = f"found {found} channels; must be {channels[first]}, as in {first}"
                yield Fault(("datasets", position, "raw"), message)


def _info(array: ArrayConfig) -> ArrayInfo | DataError:
    try:
        return read_array_info(array)
    except DataError as error:
        return error


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
