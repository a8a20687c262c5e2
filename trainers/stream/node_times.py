"""How long the parts of making a sample take."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gunpowder as gp


class NodeTimes:
    """Seconds that threads spend in each gunpowder node, without those upstream of it."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._nested = threading.local()

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure all requests of the process meanwhile."""
        request_batch = gp.BatchProvider.request_batch

        def timed(node: gp.BatchProvider, request: gp.BatchRequest) -> Any:
            outer = getattr(self._nested, "seconds", 0.0)
            self._nested.seconds = 0.0
            begun = time.perf_counter()
            try:
                return request_batch(node, request)
            finally:
                elapsed = time.perf_counter() - begun
                with self._lock:
                    self.seconds[node.name()] += elapsed - self._nested.seconds
                self._nested.seconds = outer + elapsed

        gp.BatchProvider.request_batch = timed
        try:
            yield
        finally:
            gp.BatchProvider.request_batch = request_batch
