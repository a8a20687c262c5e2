"""Volumes: their configs, their metadata, and how they are read."""

from trainers.datasets.array_info import ArrayInfo, read_array_info
from trainers.datasets.dataset_config import ArrayConfig, DatasetConfig

__all__ = ["ArrayConfig", "ArrayInfo", "DatasetConfig", "read_array_info"]
