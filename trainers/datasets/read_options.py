"""Cache, concurrency, timeouts and retries of all reads in a process."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

import tensorstore as ts
from attrs import frozen

from trainers.run.backoff import never

_RETRIES = {"max_retries": 4, "initial_delay": "500ms", "max_delay": "8s"}
"""Exponential backoff of requests to servers: 0.5, 1, 2, 4 s, so that a few retries fit into the
timeout of a read, and a server that stays away is reported soon."""
_FILES_PER_CORE = 2
"""Files read at a time; more of them would take the CPU from decoding."""
_STALL_S = 30
"""A server that sends nothing for this long counts as failed, and is retried."""


@frozen(kw_only=True)
class Reading:
    """Limits of reading: bytes of the cache of decoded chunks, and how long a read may take."""

    cache_bytes: int = 0
    timeout_s: float = 120.0
    """Of a read with all its retries: how long a volume that is away is waited for."""
    should_stop: Callable[[], bool] = never
    """Polled while a read waits; a read that it ends raises a StopRequestedError."""

    @property
    def context(self) -> ts.Context:
        """One context per process, so that all arrays share cache and threads."""
        return _context(self.cache_bytes)


@cache
def _context(cache_bytes: int) -> ts.Context:
    # environment variables, as TensorStore takes these two limits in no other way
    os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", str(_STALL_S))
    os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES", "1")
    num_cores = len(os.sched_getaffinity(0))  # not cpu_count: packed runs share a node
    return ts.Context(
        {
            "cache_pool": {"total_bytes_limit": cache_bytes},
            "data_copy_concurrency": {"limit": num_cores},
            "file_io_concurrency": {"limit": _FILES_PER_CORE * num_cores},
            "http_request_retries": _RETRIES,
            "s3_request_retries": _RETRIES,
            "gcs_request_retries": _RETRIES,
        }
    )
