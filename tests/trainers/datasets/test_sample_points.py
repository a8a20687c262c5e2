"""Reading the points around which samples are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainers.datasets.sample_points import read_sample_points
from trainers.errors import DataError


def test_points(tmp_path: Path) -> None:
    """One point per line; blanks and empty lines do not count."""
    path = tmp_path / "points.csv"
    path.write_text("z, y, x\n40,4.5,8\n\n 0, 1e2,-3\n")

    assert read_sample_points(path, 3) == [(40.0, 4.5, 8.0), (0.0, 100.0, -3.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y,z\n1,2,3\n", ": found x,y,z; the first line must be z,y,x"),
        ("", ": found an empty file; the first line must be z,y,x"),
        ("z,y,x\n", ": holds no points; expected one per line after the header"),
        ("z,y,x\n1,2,3\n1,2\n", ":3: found 1,2; expected 3 numbers, in nm"),
        ("z,y,x\n1,two,3\n", ":2: found 1,two,3; expected 3 numbers, in nm"),
        ("z,y,x\n1,nan,3\n", ":2: found 1,nan,3; expected 3 numbers, in nm"),
    ],
)
def test_malformed_file(tmp_path: Path, text: str, message: str) -> None:
    """The error names the file, the line and what was found there."""
    path = tmp_path / "points.csv"
    path.write_text(text)

    with pytest.raises(DataError) as caught:
        read_sample_points(path, 3)

    assert str(caught.value) == f"{path}{message}"


def test_file_that_is_not_text(tmp_path: Path) -> None:
    """A missing file and a binary one are refused."""
    path = tmp_path / "points.csv"
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_sample_points(path, 3)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        read_sample_points(path, 3)
