"""Convert configs to plain data and back, strictly, with cattrs.

Works from the fields of attrs classes, their types and their validators: a new config class needs
an entry in the table of its kind, and nothing here. cattrs' own hooks for scalars are replaced,
since they convert: `int("3")`, `bool("false")` and `float(True)` would all pass.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import cache, partial
from operator import eq
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_unstructure_fn

from trainers.config.artifact_address import PREFIX, ArtifactAddress, WeightsPath
from trainers.config.kinds import KIND_NAMES, KINDS
from trainers.config_faults import (
    Fault,
    MalformedError,
    not_one_of,
    show,
    unknown_keys,
    validator_message,
)
from trainers.datasets.remote_path import RemotePath, VolumePath, is_url, volume_path
from trainers.errors import ConfigError

T = TypeVar("T")


def to_plain(config: Any) -> Any:
    """Return a config as dicts, lists and scalars; `from_plain` reads them back."""
    return _converter(Path()).unstructure(config)


def from_plain(cls: type[T], data: Any, *, folder: Path = Path()) -> T:
    """Return the config that plain data describe.

    Args:
        folder: Relative paths start here.

    Raises:
        MalformedError: Keys are unknown or missing, or values not allowed; has all faults.
    """
    return _converter(folder).structure(data, cls)


class FieldsReader:
    """Reads the fields of a class from many data, such as the runs of a sweep.

    Parts that these share, by identity, are read once.

    Args:
        folder: Relative paths start here.
    """

    def __init__(self, cls: type, *, folder: Path) -> None:
        self._cls = cls
        self._converter = _converter(folder)
        self._values: dict[tuple[str, int], tuple[Any, Any]] = {}
        """By field and `id` of the data; the data are kept, or a new object could reuse the id."""

    def read(self, data: Any) -> tuple[dict[str, Any], list[Fault]]:
        """Return the valid fields, and the faults of the others."""
        return _read_fields(self._converter, data, self._cls, self._read_once)

    def _read_once(
        self, converter: cattrs.Converter, data: Any, field: attrs.Attribute[Any]
    ) -> Any:
        if not isinstance(data, dict | list):
            return _read_field(converter, data, field)
        key = (field.name, id(data))
        if key not in self._values:
            self._values[key] = (data, _read_field(converter, data, field))
        return self._values[key][1]


@cache
def _converter(folder: Path) -> cattrs.Converter:
    converter = cattrs.Converter(unstruct_collection_overrides={tuple: list})
    for cls, read in _SCALARS.items():
        converter.register_structure_hook(cls, read)
    converter.register_structure_hook(Path, partial(_read_path, folder))
    readers = {VolumePath: _read_volume_path, WeightsPath | None: _read_weights_path}
    for kind, read_path in readers.items():
        converter.register_structure_hook_func(partial(eq, kind), partial(read_path, folder))
    for applies, read_with in (
        # The validator of the field refuses other words, with suggestions.
        (lambda cls: _origin(cls) is Literal, lambda _, data, cls: _read_str(data, cls)),
        (lambda cls: _origin(cls) is tuple, _read_tuple),
        (lambda cls: _origin(cls) is dict, _read_dict),
        (attrs.has, _read_class),
        (KINDS.__contains__, _read_kind),
    ):
        converter.register_structure_hook_func(applies, partial(read_with, converter))
    for written_as_text in (Path, RemotePath, ArtifactAddress):
        converter.register_unstructure_hook(written_as_text, str)
    converter.register_unstructure_hook_factory(
        KIND_NAMES.__contains__, partial(_plain_with_kind, converter)
    )
    converter.register_unstructure_hook_func(
        KINDS.__contains__, partial(_plain_of_any_kind, converter)
    )
    return converter


def _read_bool(data: Any, _: type) -> bool:
    if not isinstance(data, bool):
        raise MalformedError.at_top(f"found {show(data)}; must be true or false")
    return data


def _read_int(data: Any, _: type) -> int:
    if type(data) is not int:
        raise MalformedError.at_top(f"found {show(data)}; must be a whole number")
    return data


def _read_float(data: Any, _: type) -> float:
    if type(data) not in (int, float):
        raise MalformedError.at_top(f"found {show(data)}; must be a number")
    try:
        number = float(data)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise MalformedError.at_top(f"found {show(data)}; must be a finite number")
    return number


def _read_str(data: Any, _: type) -> str:
    if not isinstance(data, str):
        raise MalformedError.at_top(f"found {show(data)}; must be text; put it in quotes if it is")
    return data


def _read_path(folder: Path, data: Any, _: Any) -> Path:
    """Return a path without `~` and `..`; a relative one starts at the folder.

    Links are kept, as they may differ on a compute node.
    """
    if not isinstance(data, str) or not data:
        raise MalformedError.at_top(f"found {show(data)}; must be a path")
    try:
        path = Path(data).expanduser()
    except RuntimeError:  # no $HOME, and no such user
        raise MalformedError.at_top(
            f"found {show(data)}; nobody knows where this home folder is: write it out"
        ) from None
    return Path(os.path.normpath(folder / path))


_SCALARS: dict[type, Callable[[Any, type], Any]] = {
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
    str: _read_str,
}


def _origin(cls: Any) -> Any:
    return get_origin(cls)  # returned as Any: mypy takes its overloads for never being a Literal


def _read_volume_path(folder: Path, data: Any, cls: Any) -> VolumePath:
    """Return a path or URL with its environment variables replaced, those that are set."""
    text = os.path.expandvars(data) if isinstance(data, str) else data
    is_address = isinstance(text, str) and is_url(text)
    return volume_path(text) if is_address else _read_path(folder, text, cls)


def _read_weights_path(folder: Path, data: Any, cls: Any) -> WeightsPath | None:
    if isinstance(data, str) and data.startswith(PREFIX):
        try:
            return ArtifactAddress.parse(data)
        except ValueError as error:
            raise MalformedError.at_top(f"found {show(data)}; {error}") from None
    return None if data is None else _read_path(folder, data, cls)


def _plain_with_kind(
    converter: cattrs.Converter, cls: type[Any]
) -> Callable[[Any], dict[str, Any]]:
    plain: Callable[[Any], dict[str, Any]] = make_dict_unstructure_fn(cls, converter)
    return lambda config: {"kind": KIND_NAMES[cls], **plain(config)}


def _plain_of_any_kind(converter: cattrs.Converter, config: Any) -> Any:
    if type(config) not in KIND_NAMES:
        raise ConfigError(
            f"{type(config).__qualname__} has no kind, so no file can hold it; "
            "use the kind custom, which takes an import path"
        )
    return converter.unstructure(config, type(config))


def _read_class(converter: cattrs.Converter, data: Any, cls: type[T]) -> T:
    values, faults = _read_fields(converter, data, cls)
    if faults:
        raise MalformedError(faults)
    try:
        return cls(**values)
    except ValueError as error:
        raise MalformedError([_fault_between_fields(cls, str(error))]) from error


def _read_field(converter: cattrs.Converter, data: Any, field: attrs.Attribute[Any]) -> Any:
    value = converter.structure(data, cast("type[Any]", field.type))
    if field.validator is not None:
        try:
            field.validator(None, field, value)
        except ValueError as error:
            raise MalformedError.at_top(validator_message(error, data)) from error
    return value


def _read_fields(
    converter: cattrs.Converter,
    data: Any,
    cls: type,
    read_field: Callable[[cattrs.Converter, Any, attrs.Attribute[Any]], Any] = _read_field,
) -> tuple[dict[str, Any], list[Fault]]:
    if not isinstance(data, dict):
        return {}, [Fault((), f"found {show(data)}; must be a mapping")]
    fields = {field.name: field for field in attrs.fields(attrs.resolve_types(cls)) if field.init}
    faults = unknown_keys(data, fields)
    values = {}
    for name, field in fields.items():
        if name not in data:
            if field.default is attrs.NOTHING:
                faults.append(Fault((name,), "required key is missing"))
            continue
        try:
            values[name] = read_field(converter, data[name], field)
        except MalformedError as error:
            faults += error.under(name)
    return values, faults


def _fault_between_fields(cls: type, message: str) -> Fault:
    """Return the fault of a whole object, under the field that its message starts with, if any."""
    name, _, rest = message.partition(": ")
    if name in attrs.fields_dict(cls):
        return Fault((name,), rest)
    return Fault((), message)


def _read_kind(converter: cattrs.Converter, data: Any, base: type) -> Any:
    kinds = KINDS[base]
    if not isinstance(data, dict):
        example = data if isinstance(data, str) and data in kinds else next(iter(kinds))
        raise MalformedError.at_top(
            f"found {show(data)}; must be a mapping with a kind, such as {{kind: {example}}}; "
            f"kinds: {', '.join(kinds)}"
        )
    if "kind" not in data:
        message = f"required key is missing; allowed: {', '.join(kinds)}"
        raise MalformedError([Fault(("kind",), message)])
    kind = data["kind"]
    if not isinstance(kind, str) or kind not in kinds:
        raise MalformedError([Fault(("kind",), not_one_of(kind, kinds))])
    fields = {key: value for key, value in data.items() if key != "kind"}
    return _read_class(converter, fields, kinds[kind])


def _read_tuple(converter: cattrs.Converter, data: Any, cls: Any) -> tuple[Any, ...]:
    members = get_args(cls)
    if not isinstance(data, list):
        raise MalformedError.at_top(f"found {show(data)}; must be a list")
    if members[-1] is Ellipsis:
        members = (members[0],) * len(data)
    if len(data) != len(members):
        raise MalformedError.at_top(f"found {show(data)}; must be a list of {len(members)} values")
    values = []
    faults: list[Fault] = []
    for position, (each, member) in enumerate(zip(data, members, strict=True)):
        try:
            values.append(converter.structure(each, member))
        except MalformedError as error:
            faults += error.under(position)
    if faults:
        raise MalformedError(faults)
    return tuple(values)


def _read_dict(_: cattrs.Converter, data: Any, __: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise MalformedError.at_top(f"found {show(data)}; must be a mapping")
    return data
