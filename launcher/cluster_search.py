"""Find cluster configs by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

import cluster_configs
from launcher.errors import LauncherError


@frozen(kw_only=True)
class FoundCluster:
    """A cluster config that `--cluster NAME` would take."""

    name: str
    path: Path
    origin: str
    """Which folder it lies in: the project's, the user's, or the package's."""


def find_cluster(name_or_path: str) -> FoundCluster:
    """The config at a path, or the first one of that name.

    Raises:
        LauncherError: There is none; lists those that there are.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        return FoundCluster(name=path.stem, path=path, origin="path")
    found = find_clusters()
    for cluster in found:
        if cluster.name == name_or_path:
            return cluster
    raise LauncherError(
        f"no cluster {name_or_path!r}; there are {', '.join(cluster.name for cluster in found)}. "
        "Add cluster_configs/NAME.yaml, or give the path of a .yaml file."
    )


def find_clusters() -> list[FoundCluster]:
    """All cluster configs; one in an earlier folder hides those of its name in later ones."""
    found: dict[str, FoundCluster] = {}
    for origin, folder in _folders():
        for path in sorted(folder.glob("*.yaml")):
            cluster = FoundCluster(name=path.stem, path=path, origin=origin)
            found.setdefault(path.stem, cluster)
    return list(found.values())


def _folders() -> Iterator[tuple[str, Path]]:
    yield "project", Path("cluster_configs")
    config_home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    yield "user", Path(config_home) / "launch" / "clusters"
    yield from (("packaged", Path(folder)) for folder in cluster_configs.__path__)
