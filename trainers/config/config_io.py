"""Read and write config files."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from trainers.config.converter import from_plain, to_plain
from trainers.config.run_config import RunConfig
from trainers.config.yaml_source import YamlSource
from trainers.config.yaml_text import dump_yaml
from trainers.config_faults import MalformedError, config_error
from trainers.run.atomic_write import atomic_write

__all__ = [
    "config_of",
    "from_plain",
    "read_config",
    "read_run_config",
    "to_plain",
    "write_run_config",
]

T = TypeVar("T")


def read_config(cls: type[T], path: Path) -> T:
    """Read a config from a YAML file; relative paths in it start at the file's folder.

    Raises:
        ConfigError: The file is missing, not YAML, or has faults; lists all of them by line.
    """
    return config_of(cls, YamlSource.read(path))


def config_of(cls: type[T], source: YamlSource) -> T:
    """Return the config that a YAML file holds, which was parsed already.

    Raises:
        ConfigError: It has faults; lists all of them by line.
    """
    faults = list(source.faults)
    try:
        config = from_plain(cls, source.data, folder=source.path.parent)
    except MalformedError as error:
        faults += error.faults
    if faults:
        raise config_error(source.located(faults))
    return config


def read_run_config(path: Path) -> RunConfig:
    """Read the config of a run, as `write_run_config` wrote it.

    Raises:
        ConfigError: As from `read_config`.
    """
    return read_config(RunConfig, path)


def write_run_config(path: Path, config: RunConfig) -> None:
    with atomic_write(path) as file:
        file.write(dump_yaml(to_plain(config)).encode())
