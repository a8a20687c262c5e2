"""What all reads of a process have in common."""

from __future__ import annotations

import os
from functools import cache

import tensorstore as ts
from attrs import frozen

_RETRIES = {"max_retries": 4, "initial_delay": "500ms", "max_delay": "8s"}
_FILES_PER_CORE = 2
"""Read at a time: more of them take the processor from those who decode what has come."""
_STALL_S = 30
"""A server that sends nothing for so long is asked again."""


@frozen(kw_only=True)
class Reading:
    """How much memory the cache of decoded chunks may take, and how long a read."""

    cache_bytes: int = 0
    timeout_s: float = 120.0

    @property
    def context(self) -> ts.Context:
        """One for the process, so that its arrays share cache and threads."""
        return _context(self.cache_bytes)


@cache
def _context(cache_bytes: int) -> ts.Context:
    os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", str(_STALL_S))
    os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES", "1")
    num_cores = len(os.sched_getaffinity(0))
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
