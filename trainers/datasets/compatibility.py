"""Check that the arrays of a dataset fit each other, and a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from trainers.datasets.array_info import ArrayInfo
from trainers.datasets.dataset_config import DatasetConfig
from trainers.datasets.formats.stored_array import same_size
from trainers.datasets.world_units import offset_voxels, units_per_nm
from trainers.errors import DataError

Fault = tuple[str, str]
"""A key of the dataset's config, and what is wrong with its value."""

_WIDE_INTEGERS = ("uint32", "uint64", "int32", "int64")


def dataset_faults(
    config: DatasetConfig,
    infos: Mapping[str, ArrayInfo],
    *,
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    output_scale: Sequence[float] | None = None,
) -> list[Fault]:
    """Return why a model cannot be trained on a dataset; empty if it can.

    An array may be smaller than the model's blocks: what is missing is padded with 0.

    Args:
        infos: Metadata of `config.arrays`, under the same keys.
        input_shape, output_shape: Of the model, in voxels.
        output_scale: Voxel size of the output, divided by the input's; None: equal.
    """
    raw = infos["raw"]
    faults = array_faults(config, infos)
    if raw.ndim != len(input_shape):
        faults.append(
            (
                "raw",
                f"has {raw.ndim} spatial axes; must have {len(input_shape)}, as the model's input "
                f"{list(input_shape)}",
            )
        )
        return faults
    scale = output_scale or (1.0,) * raw.ndim
    labels = {key: info for key, info in infos.items() if key != "raw" and info.ndim == raw.ndim}
    for key, info in labels.items():
        faults.extend((key, message) for message in _wrong_voxel_size(info, raw, scale))
    if "gt" in labels:
        faults.extend(("gt", text) for text in _between_voxels(input_shape, output_shape, scale))
    return faults


def array_faults(config: DatasetConfig, infos: Mapping[str, ArrayInfo]) -> list[Fault]:
    """Return why the arrays of a dataset cannot be used together; empty if they can."""
    raw, gt, mask = infos["raw"], infos.get("gt"), infos.get("mask")
    faults = [("raw", message) for message in _bad_world(infos)]
    if raw.dtype in _WIDE_INTEGERS and config.raw.value_range is None:
        faults.append(
            (
                "raw",
                f"holds {raw.dtype}, most of whose range is never used; set `value_range` to the "
                "values that should become 0 and 1",
            )
        )
    if gt is not None:
        if not gt.holds_labels:
            faults.append(("gt", f"holds {gt.dtype}; must hold integers, one id per voxel"))
        faults.extend(("gt", message) for message in _not_labels_of(gt, raw))
    if mask is not None:
        faults.extend(("mask", message) for message in _not_labels_of(mask, raw))
        if gt is None:
            faults.append(("mask", "has no effect without `gt`; remove it, or set `gt`"))
        elif gt.ndim == mask.ndim and not _overlap(mask, gt):
            faults.append(("mask", f"{_extent(mask)}; must overlap gt, which {_extent(gt)}"))
    return faults


def _bad_world(infos: Mapping[str, ArrayInfo]) -> Iterator[str]:
    try:
        units_per_nm(infos.values())
    except DataError as error:
        yield str(error)


def _not_labels_of(labels: ArrayInfo, raw: ArrayInfo) -> Iterator[str]:
    """Yield why an array cannot label the voxels of raw."""
    if labels.num_channels is not None:
        yield (
            f"has {labels.num_channels} channels; must have no channel axis; read one of them with "
            "`channel`, or, if each channel is a class, store the classes' numbers: "
            "numpy.argmax(voxels, axis=0) with the channels first"
        )
    if labels.ndim != raw.ndim:
        yield f"has {labels.ndim} spatial axes; must have {raw.ndim}, as raw"
        return
    if not _overlap(labels, raw):
        yield f"{_extent(labels)}; must overlap raw, which {_extent(raw)}"
    try:
        offset_voxels(labels, origin=raw)
    except DataError as error:
        yield str(error)


def _wrong_voxel_size(info: ArrayInfo, raw: ArrayInfo, scale: Sequence[float]) -> Iterator[str]:
    expected = [size * factor for size, factor in zip(raw.voxel_size_nm, scale, strict=True)]
    if not same_size(info.voxel_size_nm, tuple(expected)):
        yield (
            f"has voxels of {list(info.voxel_size_nm)} nm; must be {expected} nm, as raw's are "
            f"{list(raw.voxel_size_nm)} nm; choose another scale of the volume, or resample it"
        )


def _between_voxels(
    input_shape: Sequence[int], output_shape: Sequence[int], scale: Sequence[float]
) -> Iterator[str]:
    """Yield a fault if the output block, centered in the input, would cut through voxels."""
    margin = [
        (size / factor - inner) / 2
        for size, inner, factor in zip(input_shape, output_shape, scale, strict=True)
    ]
    if not all(each.is_integer() for each in margin):
        yield (
            f"cannot be cut at the middle of the model's input {list(input_shape)}: the output "
            f"{list(output_shape)} would begin {margin} voxels from its edge; choose shapes that "
            "differ by an even number"
        )


def _overlap(a: ArrayInfo, b: ArrayInfo) -> bool:
    """Return whether two arrays share at least half a voxel along every axis."""
    return all(
        min(a_end, b_end) - max(a_begin, b_begin) >= size / 2
        for (a_begin, a_end), (b_begin, b_end), size in zip(
            _spans_nm(a), _spans_nm(b), a.voxel_size_nm, strict=True
        )
    )


def _extent(info: ArrayInfo) -> str:
    begin, end = zip(*_spans_nm(info), strict=True)
    return f"lies from {list(begin)} to {list(end)} nm"


def _spans_nm(info: ArrayInfo) -> list[tuple[float, float]]:
    """Return begin and end of an array in nm, along each axis."""
    return list(zip(info.offset_nm, info.end_nm, strict=True))
