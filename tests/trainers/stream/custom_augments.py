"""Augments as a user would write them."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import gunpowder as gp
import numpy as np
from attrs import frozen

from trainers.errors import DataError
from trainers.gp_augments import AugmentConfig
from trainers.gp_augments.thread_safe_node import ThreadSafeNode


class _Negate(gp.BatchFilter):
    def __init__(self, raw_key: gp.ArrayKey) -> None:
        self.raw_key = raw_key

    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> None:
        batch[self.raw_key].data = np.float32(1) - batch[self.raw_key].data


@frozen(kw_only=True)
class NegateConfig(AugmentConfig):
    """Turns bright into dark."""

    def node(self, raw_key: Any, gt_key: Any, mask_key: Any) -> gp.BatchFilter:
        return _Negate(raw_key)


class _Report(gp.BatchFilter):
    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> None:
        threads = os.environ.get("OMP_NUM_THREADS")
        raise RuntimeError(f"torch is loaded: {'torch' in sys.modules}, threads: {threads}")


class _Fail(gp.BatchFilter):
    def __init__(self, error: Exception) -> None:
        self._error = error

    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> None:
        raise self._error


@frozen(kw_only=True)
class NoMemoryConfig(AugmentConfig):
    """Needs more memory than there is."""

    def node(self, raw_key: Any, gt_key: Any, mask_key: Any) -> gp.BatchFilter:
        return _Fail(MemoryError("a large array"))


@frozen(kw_only=True)
class NoFileConfig(AugmentConfig):
    """Reads a file on a disk that fails at present."""

    def node(self, raw_key: Any, gt_key: Any, mask_key: Any) -> gp.BatchFilter:
        return _Fail(OSError(errno.EIO, os.strerror(errno.EIO), "/a/file"))


@frozen(kw_only=True)
class ReportConfig(AugmentConfig):
    """Fails, and tells of the process that it is in."""

    def node(self, raw_key: Any, gt_key: Any, mask_key: Any) -> gp.BatchFilter:
        return _Report()


class _FailOnBright(gp.BatchFilter):
    def __init__(self, raw_key: gp.ArrayKey) -> None:
        self.raw_key = raw_key

    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> None:
        if batch[self.raw_key].data.mean() > 0.5:
            raise DataError("too bright")


@frozen(kw_only=True)
class FailOnBrightConfig(AugmentConfig):
    """Refuses bright samples in the way of the trainers' own errors."""

    def node(self, raw_key: Any, gt_key: Any, mask_key: Any) -> gp.BatchFilter:
        return _FailOnBright(raw_key)


@frozen(kw_only=True)
class PreCacheConfig(AugmentConfig):
    """Brings a node that is not allowed."""

    def node(self, raw_key: Any, gt_key: Any, mask_key: Any) -> gp.BatchFilter:
        return gp.PreCache(num_workers=1)


@frozen(kw_only=True)
class DeformConfig(AugmentConfig):
    """gunpowder's own deformation, which draws from three generators."""

    def node(self, raw_key: Any, gt_key: Any, mask_key: Any) -> gp.BatchFilter:
        return gp.DeformAugment((32, 32, 32), (8, 8, 8))


class _Nothing(gp.BatchFilter):
    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> None:
        pass


@frozen(kw_only=True)
class InProcessConfig(AugmentConfig):
    """Changes nothing, but is not fit for threads."""

    def node(self, raw_key: Any, gt_key: Any, mask_key: Any) -> gp.BatchFilter:
        return _Nothing()


class _Pure(ThreadSafeNode, gp.BatchFilter):
    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> None:
        pass


@frozen(kw_only=True)
class PureConfig(AugmentConfig):
    """Changes nothing, and is fit for threads."""

    def node(self, raw_key: Any, gt_key: Any, mask_key: Any) -> gp.BatchFilter:
        return _Pure()
