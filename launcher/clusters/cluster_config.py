"""Cluster configs: where runs can be submitted to."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from attrs.validators import ge, gt, in_, min_len, optional

from launcher.clusters.slurm_cluster_config import SlurmClusterConfig
from trainers.config.config_io import config_of
from trainers.config.yaml_source import YamlSource
from trainers.config_faults import Fault, config_error, not_one_of


@frozen(kw_only=True)
class LocalClusterConfig:
    """This machine: runs in the background, as many at once as it has room for."""

    kind: str = field(validator=in_(("local",)))
    """This machine."""
    description: str = field(validator=min_len(1))
    """What `launch clusters` shows."""
    gpus: int | None = field(default=None, validator=optional(ge(0)))
    """Number of GPUs to use; None uses all."""
    cpus: int | None = field(default=None, validator=optional(ge(1)))
    """CPU cores to assign to runs, whatever the machine has; None: the ones that it has."""
    memory_gb: float | None = field(default=None, validator=optional(gt(0)))
    """Main memory to assign to runs; None: what the machine has, or what a cgroup allows."""
    grace_s: float = field(default=120.0, validator=gt(0))
    """Time for a run to checkpoint and exit once it is signalled; then it is killed."""


@frozen(kw_only=True)
class DebugClusterConfig:
    """This very process: one run, in the foreground."""

    kind: str = field(validator=in_(("debug",)))
    """This process."""
    description: str = field(validator=min_len(1))
    """What `launch clusters` shows."""


ClusterConfig = LocalClusterConfig | DebugClusterConfig | SlurmClusterConfig

CLUSTERS: dict[str, type[ClusterConfig]] = {
    "local": LocalClusterConfig,
    "debug": DebugClusterConfig,
    "slurm": SlurmClusterConfig,
}


def read_cluster(path: Path) -> ClusterConfig:
    """Read a cluster config.

    Raises:
        ConfigError: The file is missing, not YAML, or has faults; lists all of them by line.
    """
    return cluster_of(YamlSource.read(path))


def cluster_of(source: YamlSource) -> ClusterConfig:
    """Return the cluster config of a YAML file that has been read.

    Raises:
        ConfigError: It has faults; lists all of them by line.
    """
    kind = source.data.get("kind") if isinstance(source.data, dict) else None
    if not isinstance(kind, str) or kind not in CLUSTERS:
        raise config_error(source.located([Fault(("kind",), not_one_of(kind, CLUSTERS))]))
    return config_of(CLUSTERS[kind], source)
