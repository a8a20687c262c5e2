"""Find cluster configs by name."""

from __future__ import annotations

import os
from pathlib import Path

from attrs import frozen

import cluster_configs
from launcher.clusters.cluster_config import read_cluster
from launcher.errors import LauncherError, there_are
from trainers.errors import ConfigError


@frozen(kw_only=True)
class FoundCluster:
    """A cluster config that `--cluster NAME` takes."""

    name: str
    description: str
    """The config's own, or what is wrong with it."""
    path: Path


def find_cluster(name_or_path: str) -> Path:
    """The config file of a cluster: the one at a path, or the first one of a name.

    Raises:
        LauncherError: There is none; lists those that there are.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        return Path(name_or_path)
    paths = _paths()
    if name_or_path not in paths:
        raise LauncherError(
            f"no cluster {name_or_path!r}; {there_are(name_or_path, paths)}. Add "
            f"cluster_configs/{name_or_path}.yaml, or give the path of a .yaml file."
        )
    return paths[name_or_path]


def find_clusters() -> list[FoundCluster]:
    """All clusters that have a name."""
    return [
        FoundCluster(name=name, description=_describe(path), path=path)
        for name, path in _paths().items()
    ]


def _paths() -> dict[str, Path]:
    """Config files by name; one in an earlier folder hides those of its name in later ones."""
    config_home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    folders = (
        Path("cluster_configs"),
        Path(config_home) / "launch" / "clusters",
        Path(cluster_configs.__file__).parent,
    )
    paths: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            paths.setdefault(path.stem, path)
    return paths


def _describe(path: Path) -> str:
    try:
        return read_cluster(path).description
    except ConfigError as error:
        return f"not usable: {error}"
