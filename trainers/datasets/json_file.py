"""Metadata files."""

from __future__ import annotations

import json
from typing import Any

from trainers.datasets.remote_path import VolumePath
from trainers.errors import DataError


def read_json(path: VolumePath) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DataError: The file cannot be read, or holds something else.
    """
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise DataError(f"{path}: holds {type(data).__name__}; expected a JSON object")
    return data
