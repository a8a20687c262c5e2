"""How volumes are read."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt, optional

_DEFAULT_SHARE = 4
"""By default one part of so many of a rank's memory."""
_DEFAULT_BYTES = 10**9
"""If it is not known how much memory there is."""


@frozen(kw_only=True)
class ReadingConfig:
    """Memory and patience; the samples do not depend on them."""

    cache_gb: float | None = field(default=None, validator=optional(ge(0)))
    """Decoded chunks that each rank keeps in memory, all of its volumes together. By default a
    quarter of the memory that the run has asked for; 0 keeps none."""
    timeout_s: float = field(default=120.0, validator=gt(0))
    """A read that takes longer, with all that is tried again, ends the attempt."""

    def cache_bytes(self, memory_bytes: int | None) -> int:
        """The size of the cache in a process that may use so much memory; None: not known."""
        if self.cache_gb is not None:
            return int(self.cache_gb * 1e9)
        return _DEFAULT_BYTES if memory_bytes is None else memory_bytes // _DEFAULT_SHARE
