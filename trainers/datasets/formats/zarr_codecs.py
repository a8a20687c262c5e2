"""Metadata of zarr arrays as TensorStore understands them.

It refuses members that it does not know, also those that change nothing about reading: how a
compressor was set stands in its data, and the fill value may be written in several ways.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

_COMPRESSORS = {
    "blosc": ("cname", "clevel", "shuffle", "blocksize"),
    "bz2": ("level",),
    "gzip": ("level",),
    "zlib": ("level",),
    "zstd": ("level",),
}
"""The compressors of zarr 2 that TensorStore reads, and the members that it knows."""
_ZARR2_KEYS = (
    "zarr_format",
    "shape",
    "chunks",
    "dtype",
    "compressor",
    "fill_value",
    "order",
    "filters",
    "dimension_separator",
)
_ZARR3_CODECS: dict[str, tuple[str, ...]] = {
    "blosc": ("cname", "clevel", "shuffle", "typesize", "blocksize"),
    "gzip": ("level",),
    "zstd": ("level",),
}
"""The compressors of zarr 3 that TensorStore reads, and the members that it knows."""
_NUMCODECS = "numcodecs."
"""Begins the names that zarr-python 3 gives to codecs of zarr 2."""
_SHUFFLES = {0: "noshuffle", 1: "shuffle", 2: "bitshuffle"}


def readable_zarr2(metadata: Mapping[str, Any], *, is_nested: bool) -> dict[str, Any] | None:
    """Return the content of a `.zarray` as TensorStore reads it; None: it reads it as it is.

    Args:
        is_nested: Whether chunks lie in folders, which older writers did not note.
    """
    readable = {key: metadata[key] for key in _ZARR2_KEYS if key in metadata}
    compressor, filters = metadata.get("compressor"), metadata.get("filters") or []
    if compressor is None and len(filters) == 1 and _codec_id(filters[0]) in _COMPRESSORS:
        compressor, filters = filters[0], []  # a compressor in the place of a filter
    readable |= {
        "compressor": _zarr2_compressor(compressor),
        "filters": filters or None,
        "fill_value": _zarr2_fill_value(metadata.get("fill_value"), str(metadata["dtype"])),
    }
    if is_nested:
        readable.setdefault("dimension_separator", "/")
    given = {"compressor": None, "filters": None, "fill_value": None, **metadata}
    # compared as text, since False equals 0, which TensorStore does not take for a bool
    return None if _text(readable) == _text(given) else readable


def readable_zarr3(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the content of a `zarr.json` as TensorStore reads it; None: it reads it as it is."""
    given = metadata.get("codecs")
    codecs = [_zarr3_codec(codec) for codec in given] if isinstance(given, list) else given
    return None if codecs == given else {**metadata, "codecs": codecs}


def _text(metadata: Mapping[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True)


def _codec_id(codec: Any) -> Any:
    return codec.get("id") if isinstance(codec, Mapping) else None


def _zarr2_compressor(compressor: Any) -> Any:
    known = _COMPRESSORS.get(_codec_id(compressor))
    if known is None or set(compressor) <= {"id", *known}:
        return compressor
    return {key: compressor[key] for key in ("id", *known) if key in compressor}


def _zarr2_fill_value(value: Any, dtype: str) -> Any:
    kind = dtype[1:2]
    if kind in ("u", "i") and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind == "b" and value in (0, 1):
        return bool(value)
    if kind == "f" and isinstance(value, float) and not math.isfinite(value):  # not as JSON has it
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _zarr3_codec(codec: Any) -> Any:
    if not isinstance(codec, Mapping):
        return codec
    name, configuration = str(codec.get("name")), codec.get("configuration") or {}
    if name == "sharding_indexed":
        inner = {
            key: [_zarr3_codec(each) for each in configuration[key]]
            for key in ("codecs", "index_codecs")
            if key in configuration
        }
        return {**codec, "configuration": {**configuration, **inner}}
    readable = name.removeprefix(_NUMCODECS)
    known = _ZARR3_CODECS.get(readable)
    if known is None or (name == readable and set(configuration) <= set(known)):
        return codec
    kept = {key: configuration[key] for key in known if key in configuration}
    if isinstance(kept.get("shuffle"), int):  # as zarr 2 has it
        kept["shuffle"] = _SHUFFLES.get(kept["shuffle"], "noshuffle")
    if readable == "blosc":
        kept = {"typesize": 1, "cname": "lz4", "clevel": 5, "shuffle": "noshuffle", **kept}
    return {"name": readable, "configuration": kept}
