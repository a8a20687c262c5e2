"""Files that are there as a whole, or not at all."""

import pytest

from trainers.errors import UnavailableError
from trainers.run.atomic_write import atomic_write, read_written


def test_a_file_that_was_not_written_is_told_from_one_that_is_away(tmp_path):
    """Only its folder can say that there is none."""
    path = tmp_path / "run" / "left_out.json"
    path.parent.mkdir()
    assert read_written(path) is None
    with atomic_write(path) as file:
        file.write(b"[3]")
    assert read_written(path) == b"[3]"

    path.parent.rename(tmp_path / "away")

    with pytest.raises(UnavailableError, match=r"left_out\.json cannot be read at present"):
        read_written(path)
