"""Draw a snapshot for people: orthogonal slices of what a trainer saw, as one PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen
from PIL import Image, ImageDraw, ImageFont

from trainers.errors import DataError
from trainers.snapshots.snapshot_image import SnapshotImage

COLUMNS = {"raw": "raw", "gt": "ground truth", "target": "target", "prediction": "prediction"}
"""The images of a snapshot that are drawn, and their titles."""
MAX_BYTES = 200_000
"""Of a picture: 50 of them fit into a page, and a thousand into a W&B run."""

_PANEL_SIZES = (384, 320, 256, 200, 160, 128, 96, 64)
"""Pixels that the slices of an image may take in each direction; the first that fits is taken."""
_FAR_FROM_FITTING = 1.5
_GAP = 3
"""Pixels between the slices of an image."""
_MARGIN = 12
_LINE = 20
_FONT_SIZE = 13
_SURROUNDINGS = (232, 232, 232)
"""Where an image that is smaller than the raw data has no voxels."""
_NON_FINITE = (255, 0, 255)
_COLOR_FACTORS = np.array([2654435761, 2246822519, 3266489917], np.uint64)


def snapshot_picture(snapshot: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return a picture of a snapshot as PNG.

    A column each for raw data, ground truth, target and prediction, as far as the snapshot has
    them: the orthogonal slices through the middle of what is predicted, arranged as in Fiji and
    napari. All voxels lie where they are in space and have the proportions of their size, and a bar
    shows the scale. Of several channels the first three are red, green and blue; what is NaN or
    infinite is magenta.

    Args:
        snapshot: Such as `RUN/snapshots.zarr/100`.
        max_bytes: A picture that would be larger is drawn smaller.

    Raises:
        DataError: There is no image, or one cannot be read.
    """
    images = {
        name: SnapshotImage.open(snapshot / name) for name in COLUMNS if (snapshot / name).is_dir()
    }
    if not images:
        raise DataError(f"{snapshot} has none of {', '.join(COLUMNS)}: it is not a snapshot")
    scene = _Scene.of(images)
    picture, drawn_size = b"", 1
    for panel_size in _PANEL_SIZES:
        # Bytes go about with the area: sizes that are far from fitting are not tried.
        if len(picture) * (panel_size / drawn_size) ** 2 > _FAR_FROM_FITTING * max_bytes:
            continue
        picture = _png(_draw(scene, panel_size, f"iteration {snapshot.name}"))
        if len(picture) <= max_bytes:
            return picture
        drawn_size = panel_size
    raise DataError(
        f"{snapshot}: its smallest picture has {len(picture)} bytes; allowed are {max_bytes}"
    )


@frozen(kw_only=True)
class _Slice:
    """What is drawn of an image in one plane."""

    colors: npt.NDArray[np.uint8]
    """[row, column, red green blue]"""
    start_nm: tuple[float, float]
    voxel_size_nm: tuple[float, float]
    is_labels: bool


@frozen(kw_only=True)
class _Scene:
    """The slices of all images: for each image as many as there are planes."""

    slices: dict[str, list[_Slice]]
    planes: list[tuple[int | None, int, int]]
    """The axis that each is across, and the axes that run down and to the right in it."""
    start_nm: tuple[float, ...]
    extent_nm: tuple[float, ...]
    voxel_size_nm: tuple[float, ...]

    @classmethod
    def of(cls, images: dict[str, SnapshotImage]) -> _Scene:
        start = tuple(map(min, zip(*(image.start_nm for image in images.values()), strict=True)))
        end = tuple(map(max, zip(*(image.end_nm for image in images.values()), strict=True)))
        inner = min(images.values(), key=lambda image: math.prod(image.shape))
        middle = tuple(
            (one + other) / 2 for one, other in zip(inner.start_nm, inner.end_nm, strict=True)
        )
        planes: list[tuple[int | None, int, int]] = [(0, 1, 2), (2, 1, 0), (1, 0, 2)]
        if len(start) == 2:
            planes = [(None, 0, 1)]
        sections = {
            name: [
                _upright(image.section(axis, middle), down, right) for axis, down, right in planes
            ]
            for name, image in images.items()
        }
        values = _value_range(sections.get("target", ()))
        return cls(
            slices={
                name: [
                    _Slice(
                        colors=_colored(name, section, values),
                        start_nm=(image.start_nm[down], image.start_nm[right]),
                        voxel_size_nm=(image.voxel_size_nm[down], image.voxel_size_nm[right]),
                        is_labels=name == "gt",
                    )
                    for section, (_, down, right) in zip(sections[name], planes, strict=True)
                ]
                for name, image in images.items()
            },
            planes=planes,
            start_nm=start,
            extent_nm=tuple(one - other for one, other in zip(end, start, strict=True)),
            voxel_size_nm=inner.voxel_size_nm,
        )


def _upright(section: npt.NDArray[Any], down: int, right: int) -> npt.NDArray[Any]:
    return section if down < right else section.swapaxes(-1, -2)


def _value_range(targets: Iterable[npt.NDArray[Any]]) -> tuple[float, float]:
    """Return the values that are black and white in targets and predictions."""
    finite = [values[np.isfinite(values)] for values in targets]
    low = min((float(values.min()) for values in finite if values.size), default=0.0)
    high = max((float(values.max()) for values in finite if values.size), default=1.0)
    if low >= 0 and high <= 1:  # affinities, classes
        return 0.0, 1.0
    return (-1.0, 1.0) if low >= -1 and high <= 1 else (low, high)


def _colored(
    name: str, section: npt.NDArray[Any], values: tuple[float, float]
) -> npt.NDArray[np.uint8]:
    if name == "gt":
        return _by_id(section)
    if name == "raw":  # the extremes of EM are artifacts
        section = section[:1] if section.ndim == 3 else section[None]
        finite = section[np.isfinite(section)]
        values = tuple(np.percentile(finite, (0.5, 99.5))) if finite.size else (0.0, 1.0)
    channels = (section if section.ndim == 3 else section[None])[:3].astype(np.float64)
    low, high = values
    with np.errstate(invalid="ignore"):
        scaled = 255 * ((channels - low) / max(high - low, 1e-12)).clip(0, 1)
    colors: npt.NDArray[np.uint8] = np.moveaxis(np.nan_to_num(scaled).astype(np.uint8), 0, -1)
    if colors.shape[-1] == 1:
        colors = np.repeat(colors, 3, axis=-1)
    elif colors.shape[-1] == 2:
        colors = np.concatenate([colors, np.zeros_like(colors[..., :1])], axis=-1)
    colors[~np.isfinite(channels).all(axis=0)] = _NON_FINITE
    return colors


def _by_id(labels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return a color for each id; black for 0. Of several channels the first is shown."""
    labels = labels[0] if labels.ndim == 3 else labels
    colors = 64 + (labels.astype(np.uint64)[..., None] * _COLOR_FACTORS >> np.uint64(8)) % 192
    colored: npt.NDArray[np.uint8] = np.where(labels[..., None] == 0, 0, colors).astype(np.uint8)
    return colored


def _draw(scene: _Scene, panel_size: int, title: str) -> Image.Image:
    # The slice across x stands to the right of the one across z, that across y below it.
    depth = scene.extent_nm[0] if len(scene.planes) == 3 else 0.0
    height, width = scene.extent_nm[-2:]
    scale = (panel_size - _GAP) / (max(height, width) + depth)
    pixels_per_voxel = scale * min(scene.voxel_size_nm)
    if pixels_per_voxel > 1:  # equal voxels look equal
        scale *= math.floor(pixels_per_voxel) / pixels_per_voxel
    inset = _GAP if depth else 0
    corners = [(0, 0), (round(width * scale) + inset, 0), (0, round(height * scale) + inset)]
    panel = (
        round(width * scale) + inset + round(depth * scale),
        round(height * scale) + inset + round(depth * scale),
    )
    font = ImageFont.load_default(_FONT_SIZE)
    column = max(panel[0], round(max(map(font.getlength, COLUMNS.values())))) + _MARGIN
    top, foot = 2 * _LINE + _MARGIN // 2, 2 * _LINE + _MARGIN // 2
    size = (_MARGIN + column * len(scene.slices), top + panel[1] + foot)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN // 2), title, fill="black", font=font)
    for index, (name, slices) in enumerate(scene.slices.items()):
        left = _MARGIN + index * column
        pen.text((left, _LINE + _MARGIN // 2), COLUMNS[name], fill="black", font=font)
        for each, (x, y), (_, down, right) in zip(slices, corners, scene.planes, strict=False):
            canvas = _placed(
                each,
                (scene.start_nm[down], scene.start_nm[right]),
                (scene.extent_nm[down], scene.extent_nm[right]),
                scale,
            )
            sheet.paste(canvas, (left + x, top + y))
    _draw_scale(pen, font, scene, scale, top + panel[1] + _MARGIN // 2, column)
    return sheet


def _placed(
    each: _Slice, start_nm: tuple[float, float], extent_nm: tuple[float, float], scale: float
) -> Image.Image:
    """Return a plane of the whole extent with a slice in its place."""
    height, width = (max(1, round(extent * scale)) for extent in extent_nm)
    canvas = Image.new("RGB", (width, height), _SURROUNDINGS)
    rows, columns = each.colors.shape[:2]
    size = (
        max(1, round(columns * each.voxel_size_nm[1] * scale)),
        max(1, round(rows * each.voxel_size_nm[0] * scale)),
    )
    is_shrunk = size[0] < columns or size[1] < rows
    how = Image.Resampling.BOX if is_shrunk and not each.is_labels else Image.Resampling.NEAREST
    corner = [
        round((own - outer) * scale) for own, outer in zip(each.start_nm, start_nm, strict=True)
    ]
    canvas.paste(Image.fromarray(each.colors).resize(size, how), (corner[1], corner[0]))
    return canvas


def _draw_scale(
    pen: ImageDraw.ImageDraw,
    font: Any,
    scene: _Scene,
    scale: float,
    top: int,
    column: int,
) -> None:
    """Draw a bar of a round length below the first column, and write the size of a voxel."""
    length_nm = _round_length(scene.extent_nm[-1] / 2)
    end = _MARGIN + max(1, round(length_nm * scale))
    pen.rectangle((_MARGIN, top + 6, end - 1, top + 9), fill="black")
    pen.text((end + 6, top), show_length(length_nm), fill="black", font=font)
    axes = " ".join("zyx"[-len(scene.voxel_size_nm) :])
    voxel = " x ".join(f"{size:g}" for size in scene.voxel_size_nm)
    pen.text((_MARGIN, top + _LINE), f"voxel {voxel} nm ({axes})", fill="black", font=font)


def _round_length(at_most: float) -> float:
    """Return the largest 1, 2 or 5 times a power of ten that is not larger."""
    power = 10.0 ** math.floor(math.log10(at_most))
    return next(step * power for step in (5, 2, 1) if step * power <= at_most or step == 1)


def show_length(nm: float) -> str:
    """Return a length with its unit: `200 nm`, `2 µm`."""
    return f"{nm:g} nm" if nm < 1000 else f"{nm / 1000:g} µm"


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")  # `optimize` would take five times as long, for one percent
    return file.getvalue()
