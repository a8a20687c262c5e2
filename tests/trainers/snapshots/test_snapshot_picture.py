"""Pictures of snapshots, pixel by pixel."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from trainers.errors import DataError
from trainers.snapshots import SnapshotWriter
from trainers.snapshots.snapshot_picture import MAX_BYTES, snapshot_picture

Array = npt.NDArray[Any]
WHITE, GREY, BLACK = (255, 255, 255), (232, 232, 232), (0, 0, 0)
MAGENTA, RED, GREEN, BLUE = (255, 0, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)


def write(
    folder: Path, arrays: dict[str, Array], voxel: tuple[float, ...], **offsets: tuple[float, ...]
) -> Path:
    writer = SnapshotWriter(folder / "snapshots.zarr")
    zero = (0.0,) * len(voxel)
    places = {name: offsets.get(name, zero) for name in arrays}
    writer.submit(7, arrays, voxel_size_nm=voxel, offsets_nm=places)
    writer.close()
    return folder / "snapshots.zarr" / "7"


def pixels(picture: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


def extent(picture: Array, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Top, left, height and width of what has a color."""
    rows, columns = np.nonzero((picture == color).all(axis=-1))
    return (
        rows.min(),
        columns.min(),
        rows.max() - rows.min() + 1,
        columns.max() - columns.min() + 1,
    )


def test_an_anisotropic_crop_has_its_proportions(tmp_path: Path) -> None:
    """A block of 4 x 20 x 10 voxels of 40 x 8 x 4 nm shows its planes at 160 x 160 x 40 nm."""
    red = np.zeros((3, 4, 20, 10), "float32")
    red[0] = 1

    picture = pixels(snapshot_picture(write(tmp_path, {"target": red}, (40.0, 8.0, 4.0))))

    top, left, height, width = extent(picture, RED)
    section = (picture[:, left] == RED).all(axis=-1)
    y_pixels = int(np.argmin(section[top:]))
    x_pixels = int(np.argmin((picture[top] == RED).all(axis=-1)[left:]))
    z_pixels, gap = height - y_pixels - 3, 3
    assert (y_pixels / x_pixels, z_pixels / x_pixels) == (4.0, 4.0)
    assert width == x_pixels + gap + z_pixels


def test_slices_show_each_direction_in_its_place(tmp_path: Path) -> None:
    """Channels that rise along z, y and x are bright at the far end of these axes only."""
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 20)] * 3, indexing="ij")).astype("float32")

    picture = pixels(snapshot_picture(write(tmp_path, {"prediction": grid}, (8.0, 8.0, 8.0))))

    top, left = 46, 12
    side = 20 * int(np.floor(381 / 40))
    across_z = picture[top : top + side, left : left + side]
    across_x = picture[top : top + side, left + side + 3 : left + 2 * side + 3]
    across_y = picture[top + side + 3 : top + 2 * side + 3, left : left + side]
    assert across_z[0, 0].tolist()[1:] == [0, 0]
    assert across_z[-1, 0].tolist()[1:] == [255, 0]
    assert across_z[0, -1].tolist()[1:] == [0, 255]
    assert across_x[0, -1].tolist()[:2] == [255, 0]
    assert across_x[-1, 0].tolist()[:2] == [0, 255]
    assert across_y[-1, 0].tolist()[0::2] == [255, 0]
    assert across_y[0, -1].tolist()[0::2] == [0, 255]


def test_what_is_smaller_than_raw_lies_where_it_is(tmp_path: Path) -> None:
    """A prediction of 4 of 10 pixels, 2 from above and 5 from the left, has grey around it."""
    snapshot = write(
        tmp_path,
        {
            "raw": np.zeros((1, 10, 10), "float32"),
            "prediction": np.stack([np.ones((4, 4)), *np.zeros((2, 4, 4))]).astype("float32"),
        },
        (4.0, 4.0),
        prediction=(8.0, 20.0),
    )

    picture = pixels(snapshot_picture(snapshot))[46:-45]  # without titles and scale

    top, left, height, width = extent(picture, RED)
    grey_top, grey_left, grey_height, grey_width = extent(picture, GREY)
    assert (10 * height, 10 * width) == (4 * grey_height, 4 * grey_width)
    assert (10 * (top - grey_top), 10 * (left - grey_left)) == (2 * grey_height, 5 * grey_width)


def test_the_bar_is_as_long_as_it_says(tmp_path: Path) -> None:
    """Of 1000 nm, 500 nm are half: the largest 1, 2 or 5 that is no more."""
    red = np.stack([np.ones((50, 50)), *np.zeros((2, 50, 50))]).astype("float32")

    picture = pixels(snapshot_picture(write(tmp_path, {"target": red}, (20.0, 20.0))))

    top, left, height, width = extent(picture, RED)
    below = (picture[top + height :, left:] == BLACK).all(axis=-1)
    assert max(map(int, np.argmin(below, axis=1))) == width / 2


def test_what_is_not_finite_is_magenta(tmp_path: Path) -> None:
    """A prediction that has diverged is seen to have."""
    values = np.full((3, 8, 8), 0.5, "float32")
    values[:, :4] = np.nan
    values[0, 7, 7] = np.inf

    picture = pixels(snapshot_picture(write(tmp_path, {"prediction": values}, (4.0, 4.0))))

    magenta = (picture == MAGENTA).all(axis=-1).sum()
    halves = (picture == 127).all(axis=-1).sum()
    assert magenta / halves == pytest.approx(33 / 31, rel=1e-3)


def test_noise_stays_below_the_limit(tmp_path: Path) -> None:
    """A picture of large crops that compress badly is drawn smaller; any limit is kept."""
    noise = np.random.default_rng(0).random((3, 130, 130, 130), "float32")
    snapshot = write(
        tmp_path,
        {name: noise for name in ("raw", "target", "prediction")}
        | {"gt": (noise[0] * 1000).astype("uint64")},
        (8.0, 8.0, 8.0),
    )

    picture, small = snapshot_picture(snapshot), snapshot_picture(snapshot, max_bytes=60_000)

    assert len(small) < 60_000 < len(picture) < MAX_BYTES
    assert pixels(small).shape[1] < pixels(picture).shape[1]


def test_labels_keep_their_colors_and_0_is_black(tmp_path: Path) -> None:
    """Equal ids have one color wherever they are, even beyond 2^53."""
    labels = np.zeros((6, 6), "uint64")
    labels[:2], labels[4:] = 2**53 + 1, 2**53

    picture = pixels(snapshot_picture(write(tmp_path, {"gt": labels}, (4.0, 4.0))))

    top, left, height, _ = extent(picture[46:-45], BLACK)
    column = picture[46 : 46 + 3 * height, left]
    assert {tuple(map(int, color)) for color in column[height : 2 * height]} == {BLACK}
    others = {tuple(map(int, color)) for color in (*column[:height], *column[2 * height :])}
    assert len(others) == 2 and top == height


@pytest.mark.parametrize("damage", ["no image", "no attributes", "damaged chunk"])
def test_a_damaged_snapshot_is_an_error_that_names_it(tmp_path: Path, damage: str) -> None:
    """What cannot be drawn is a DataError, whatever is wrong with it."""
    noise = np.random.default_rng(0).random((1, 8, 8, 8), "float32")
    snapshot = write(tmp_path, {"raw": noise}, (8.0, 8.0, 8.0))
    if damage == "no image":
        (snapshot / "raw").rename(snapshot / "other")
    elif damage == "no attributes":
        (snapshot / "raw" / ".zattrs").write_text("{")
    else:
        (snapshot / "raw" / "0" / "0" / "0" / "0" / "0").write_bytes(b"torn")

    with pytest.raises(DataError, match="snapshot"):
        snapshot_picture(snapshot)
