"""Find cluster configs by name."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

import cluster_configs
from launcher.clusters.cluster_config import ClusterConfig, cluster_of, read_cluster
from launcher.errors import LauncherError, suggestions
from launcher.os_errors import sentence
from trainers.config.yaml_source import YamlSource
from trainers.errors import ConfigError

_logger = logging.getLogger(__name__)


@frozen(kw_only=True)
class Cluster:
    """A cluster config that has been read."""

    name: str
    """As given to `--cluster`: a name, or the path of a .yaml file."""
    source: YamlSource
    config: ClusterConfig

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def reference(self) -> str:
        """The name to find it by later, in whatever folder: a path is absolute."""
        return str(self.path.absolute()) if self.path == Path(self.name) else self.name


@frozen(kw_only=True)
class FoundCluster:
    """A named cluster config, valid or not."""

    name: str
    description: str
    """That of the config, or what is wrong with it."""
    path: Path


def open_cluster(name_or_path: str) -> Cluster:
    """Find a cluster and read its config.

    Raises:
        LauncherError: No cluster has this name; lists the available ones.
        ConfigError: The config has faults; lists all of them by line.
    """
    source = YamlSource.read(find_cluster(name_or_path))
    return Cluster(name=name_or_path, source=source, config=cluster_of(source))


def find_cluster(name_or_path: str) -> Path:
    """Return the config file of a cluster: the path itself, or the first file of a name.

    Raises:
        LauncherError: No cluster has this name; lists the available ones.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        return Path(name_or_path)
    paths = _paths_by_name()
    if name_or_path not in paths:
        raise LauncherError(
            f"no cluster {name_or_path!r}; {suggestions(name_or_path, paths)}. Add "
            f"cluster_configs/{name_or_path}.yaml, or give the path of a .yaml file."
        )
    return paths[name_or_path]


def find_clusters() -> list[FoundCluster]:
    """List the named clusters."""
    return [
        FoundCluster(name=name, description=_describe(path), path=path)
        for name, path in _paths_by_name().items()
    ]


def _paths_by_name() -> dict[str, Path]:
    """Return config files by name; a file hides files of the same name in later folders."""
    paths: dict[str, Path] = {}
    for folder in _folders():
        try:
            found = sorted(path for path in folder.iterdir() if path.suffix == ".yaml")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # the other folders may have what is needed
            _logger.warning("left out: %s", sentence(error))
            continue
        for path in found:
            paths.setdefault(path.stem, path)
    return paths


def _folders() -> Iterator[Path]:
    """Yield the folders of cluster configs, the first one with a name wins."""
    yield Path("cluster_configs")
    # A user without a home has no configs of their own: a batch job with another user id, say.
    with suppress(RuntimeError):
        yield Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "launch/clusters")
    yield Path(cluster_configs.__file__).parent


def _describe(path: Path) -> str:
    try:
        return read_cluster(path).description
    except ConfigError as error:
        return f"not usable: {error}"
    except OSError as error:
        return f"not usable: {sentence(error)}"
