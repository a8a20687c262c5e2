"""Turn configs into plain data and back, strictly.

Works from the fields of attrs classes, their types and their validators: a new config class needs
an entry in the table of its kind, and nothing here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_unstructure_fn

from trainers.architectures.architecture_config import ArchitectureConfig
from trainers.architectures.kinds import ARCHITECTURES
from trainers.errors import ConfigError
from trainers.faults import Fault, Malformed, not_one_of, reworded, show, unknown_keys
from trainers.gp_augments.augment_config import AugmentConfig
from trainers.gp_augments.kinds import AUGMENTS
from trainers.optimizers.kinds import OPTIMIZERS, SCHEDULES
from trainers.optimizers.optimizer_config import OptimizerConfig
from trainers.optimizers.schedule_config import ScheduleConfig
from trainers.tasks.kinds import TASKS
from trainers.tasks.task_config import TaskConfig
from trainers.trainer_config import TrainerConfig
from trainers.trainer_kinds import TRAINERS

KINDS: dict[type, Mapping[str, type]] = {
    TaskConfig: TASKS,
    ArchitectureConfig: ARCHITECTURES,
    TrainerConfig: TRAINERS,
    OptimizerConfig: OPTIMIZERS,
    ScheduleConfig: SCHEDULES,
    AugmentConfig: AUGMENTS,
}
"""What the key `kind` chooses from, by the type of the field."""

_KIND_NAMES = {cls: kind for kinds in KINDS.values() for kind, cls in kinds.items()}

T = TypeVar("T")


def to_plain(config: Any) -> Any:
    """Dicts, lists and scalars, as YAML and JSON have them; `from_plain` turns them back."""
    return _converter(Path()).unstructure(config)


def from_plain(cls: type[T], data: Any, *, folder: Path = Path()) -> T:
    """The config that plain data describe.

    Args:
        folder: Relative paths start here.

    Raises:
        Malformed: Keys are unknown or missing, or have bad values; has all such faults.
    """
    return _read_class(_converter(folder), data, cls)


def read_fields(cls: type, data: Any, *, folder: Path) -> tuple[dict[str, Any], list[Fault]]:
    """The fields of a class as far as their data are right, and the faults of the others."""
    return _read_fields(_converter(folder), data, cls)


@cache
def _converter(folder: Path) -> cattrs.Converter:
    converter = cattrs.Converter(unstruct_collection_overrides={tuple: list})
    for cls, read in _SCALARS.items():
        converter.register_structure_hook(cls, read)
    converter.register_structure_hook(Path, partial(_read_path, folder))
    for applies, read_with in (
        (lambda cls: _origin(cls) is tuple, _read_tuple),
        (lambda cls: _origin(cls) is dict, _read_dict),
        (attrs.has, _read_class),
        (KINDS.__contains__, _read_kind),
    ):
        converter.register_structure_hook_func(applies, partial(read_with, converter))
    converter.register_unstructure_hook(Path, str)
    converter.register_unstructure_hook_factory(
        _KIND_NAMES.__contains__, partial(_plain_with_kind, converter)
    )
    converter.register_unstructure_hook_func(
        KINDS.__contains__, partial(_plain_of_any_kind, converter)
    )
    return converter


def _origin(cls: Any) -> Any:
    return get_origin(cls)


def _plain_with_kind(
    converter: cattrs.Converter, cls: type[Any]
) -> Callable[[Any], dict[str, Any]]:
    plain: Callable[[Any], dict[str, Any]] = make_dict_unstructure_fn(cls, converter)
    return lambda config: {"kind": _KIND_NAMES[cls], **plain(config)}


def _plain_of_any_kind(converter: cattrs.Converter, config: Any) -> Any:
    if type(config) not in _KIND_NAMES:
        raise ConfigError(
            f"{type(config).__qualname__} has no kind, so no file can hold it; "
            "use the kind custom, which takes an import path"
        )
    return converter.unstructure(config, type(config))


def _read_class(converter: cattrs.Converter, data: Any, cls: type[T]) -> T:
    values, faults = _read_fields(converter, data, cls)
    if faults:
        raise Malformed(faults)
    try:
        return cls(**values)
    except ValueError as error:
        raise Malformed([_fault_between_fields(cls, str(error))]) from error


def _read_fields(
    converter: cattrs.Converter, data: Any, cls: type
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
            values[name] = _read_field(converter, data[name], field)
        except Malformed as error:
            faults += (fault.under(name) for fault in error.faults)
    return values, faults


def _read_field(converter: cattrs.Converter, data: Any, field: attrs.Attribute[Any]) -> Any:
    value = converter.structure(data, cast("type[Any]", field.type))
    if field.validator is not None:
        try:
            field.validator(None, field, value)
        except ValueError as error:
            raise Malformed.at_top(reworded(error, data)) from error
    return value


def _fault_between_fields(cls: type, message: str) -> Fault:
    """A message that starts with the name of a field belongs there."""
    name, _, rest = message.partition(": ")
    if name in attrs.fields_dict(cls):
        return Fault((name,), rest)
    return Fault((), message)


def _read_kind(converter: cattrs.Converter, data: Any, base: type) -> Any:
    kinds = KINDS[base]
    if not isinstance(data, dict):
        example = data if isinstance(data, str) and data in kinds else next(iter(kinds))
        raise Malformed.at_top(
            f"found {show(data)}; must be a mapping with a kind, such as {{kind: {example}}}; "
            f"kinds: {', '.join(kinds)}"
        )
    if "kind" not in data:
        message = f"required key is missing; allowed: {', '.join(kinds)}"
        raise Malformed([Fault(("kind",), message)])
    kind = data["kind"]
    if not isinstance(kind, str) or kind not in kinds:
        raise Malformed([Fault(("kind",), not_one_of(kind, kinds))])
    fields = {key: value for key, value in data.items() if key != "kind"}
    return _read_class(converter, fields, kinds[kind])


def _read_tuple(converter: cattrs.Converter, data: Any, cls: Any) -> tuple[Any, ...]:
    members = get_args(cls)
    if not isinstance(data, list):
        raise Malformed.at_top(f"found {show(data)}; must be a list")
    if members[-1] is Ellipsis:
        members = (members[0],) * len(data)
    if len(data) != len(members):
        raise Malformed.at_top(f"found {show(data)}; must be a list of {len(members)} values")
    values, faults = [], []
    for position, (each, member) in enumerate(zip(data, members, strict=True)):
        try:
            values.append(converter.structure(each, member))
        except Malformed as error:
            faults += [fault.under(position) for fault in error.faults]
    if faults:
        raise Malformed(faults)
    return tuple(values)


def _read_dict(_: cattrs.Converter, data: Any, __: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise Malformed.at_top(f"found {show(data)}; must be a mapping")
    return data


def _read_bool(data: Any, _: type) -> bool:
    if not isinstance(data, bool):
        raise Malformed.at_top(f"found {show(data)}; must be true or false")
    return data


def _read_int(data: Any, _: type) -> int:
    if type(data) is not int:
        raise Malformed.at_top(f"found {show(data)}; must be a whole number")
    return data


def _read_float(data: Any, _: type) -> float:
    if type(data) not in (int, float) or not math.isfinite(data):
        raise Malformed.at_top(f"found {show(data)}; must be a finite number")
    return float(data)


def _read_str(data: Any, _: type) -> str:
    if not isinstance(data, str):
        raise Malformed.at_top(f"found {show(data)}; must be text; put it in quotes if it is")
    return data


def _read_path(folder: Path, data: Any, _: type) -> Path:
    if not isinstance(data, str) or not data:
        raise Malformed.at_top(f"found {show(data)}; must be a path")
    return Path(os.path.normpath(folder / Path(data).expanduser()))


_SCALARS: dict[type, Callable[[Any, type], Any]] = {
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
    str: _read_str,
}
