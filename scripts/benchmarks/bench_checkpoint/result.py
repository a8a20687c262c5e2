"""What the medians of one size mean."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from scripts.benchmarks.bench_checkpoint.distributed_checkpoint import (
    DcpProcess,
    DcpSync,
    DcpThread,
)
from scripts.benchmarks.bench_checkpoint.ours import Ours, OursAnew
from scripts.benchmarks.bench_checkpoint.rounds import (
    INTO_NETWORK,
    MEMCPY,
    RAW_READ,
    RAW_READ_TOUCHED,
    RAW_WRITE,
)
from scripts.benchmarks.bench_checkpoint.single_files import Safetensors, TorchSave
from scripts.benchmarks.bench_checkpoint.times import Times
from scripts.benchmarks.requirement import Requirement

_DCP = (DcpSync.name, DcpThread.name, DcpProcess.name)
_LARGE_MB = 500
"""From here on, what is done once a save no longer counts beside what is done for every byte."""
_RESTORED_MB = 2000


@frozen
class Result:
    """One size.

    Args:
        size_mb: What was asked for.
    """

    size_mb: int
    times: Times

    def as_json(self) -> dict[str, float]:
        """Seconds.

        Restoring and the plain read are both from the disk: after a restart, what was written past
        the page cache, or on another machine, is not in it.
        """
        ours = Ours.name
        return {
            "memcpy_s": self._median(MEMCPY, "stall"),
            "stall_s": self._median(ours, "stall"),
            "durable_s": self._median(ours, "durable"),
            "raw_fsync_s": self._median(RAW_WRITE, "durable"),
            "dcp_stall_s": min(self._median(each, "stall") for each in _DCP),
            "dcp_durable_s": min(self._median(each, "durable") for each in _DCP),
            "restore_s": self._median(ours, "cold"),
            "raw_read_s": self._median(RAW_READ, "cold"),
        }

    def requirements(self) -> Iterator[Requirement]:
        found = self.as_json()
        is_large = self.size_mb >= _LARGE_MB
        yield Requirement(
            what="stall / memcpy",
            found=found["stall_s"] / found["memcpy_s"],
            must=1.2 if is_large else 2,
            aim=1.05 if is_large else None,
        )
        if is_large:
            yield Requirement(
                what="durable bytes per second / those of write + fsync",
                found=found["raw_fsync_s"] / found["durable_s"],
                must=0.85,
                aim=0.95,
                is_at_least=True,
            )
        yield Requirement(
            what="stall / the shortest of DCP",
            found=found["stall_s"] / found["dcp_stall_s"],
            must=1,
        )
        yield Requirement(
            what="the quickest durable of DCP / durable",
            found=found["dcp_durable_s"] / found["durable_s"],
            must=2,
            is_at_least=True,
        )
        yield Requirement(
            what="seconds more for the steps beside a save than with the best of DCP",
            found=self._median(Ours.name, "extra")
            - min(self._median(each, "extra") for each in (DcpThread.name, DcpProcess.name)),
            must=0,
        )
        for what in ("stall", "durable"):
            yield Requirement(
                what=f"{what} of the first save of a run / of later ones",
                found=self._median(OursAnew.name, what) / self._median(Ours.name, what),
                must=1.2,
            )
        if self.size_mb >= _RESTORED_MB:
            for cache, where in (("cold", "from disk"), ("warm", "from the page cache")):
                yield Requirement(
                    what=f"bytes per second restored and verified / read plainly, {where}",
                    found=self._median(RAW_READ, cache) / self._median(Ours.name, cache),
                    must=0.7,
                    aim=0.9,
                    is_at_least=True,
                )

    def table(self) -> str:
        return "\n".join([*self._saving(), "", *self._loading()])

    def _saving(self) -> Iterator[str]:
        yield f"  {'saving, s':26}{'stall':>9}{'durable':>10}   in the first round"
        yield f"  {MEMCPY:26}{self._median(MEMCPY, 'stall'):9.4f}"
        yield f"  {RAW_WRITE:26}{'':9}{self._median(RAW_WRITE, 'durable'):10.4f}"
        for name in (Ours.name, OursAnew.name, TorchSave.name, Safetensors.name, *_DCP):
            stall, durable = self._median(name, "stall"), self._median(name, "durable")
            first = (self.times.first(name, "stall"), self.times.first(name, "durable"))
            yield f"  {name:26}{stall:9.4f}{durable:10.4f}   {first[0]:.4f}, {first[1]:.4f}"
        yield f"  {'steps beside a save':26}{'longer by':>9}{'seconds':>10}"
        for name in (Ours.name, DcpThread.name, DcpProcess.name):
            ratio, extra = self._median(name, "step") - 1, self._median(name, "extra")
            yield f"  {name:26}{ratio:9.0%}{extra:10.4f}"

    def _loading(self) -> Iterator[str]:
        yield f"  {'loading, s':26}{'from disk':>9}{'cached':>10}"
        for name in (
            RAW_READ,
            RAW_READ_TOUCHED,
            Ours.name,
            TorchSave.name,
            Safetensors.name,
            DcpSync.name,
        ):
            yield f"  {name:26}{self._median(name, 'cold'):9.4f}{self._median(name, 'warm'):10.4f}"
        yield f"  {INTO_NETWORK:26}{'':9}{self._median(INTO_NETWORK, 'warm'):10.4f}"

    def _median(self, name: str, what: str) -> float:
        return self.times.median(name, what)
