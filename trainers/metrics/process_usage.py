"""CPU time, memory and input of the processes of a run on this node, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


@frozen(kw_only=True)
class ProcessUsage:
    """What the processes of a run use, in sum; counters are since their starts."""

    pids: frozenset[int]
    cpu_s: float
    memory_bytes: int
    num_threads: int
    read_bytes: int
    """From disks and network file systems."""
    written_bytes: int


def run_processes() -> frozenset[int]:
    """Return the process ids of all ranks of this run on this node, and of their data workers."""
    own = os.getpid()
    command = _bytes(own, "cmdline")
    ranks = [each for each in _children(os.getppid()) if _bytes(each, "cmdline") == command]
    return frozenset(pid for rank in {own, *ranks} for pid in _tree(rank))


def process_usage(pids: frozenset[int]) -> ProcessUsage:
    """Return what processes use; those that have ended count nothing, and their parents for them.

    Memory is anonymous memory in sum, and the largest shared mapping: the ranks and workers of a
    run map the same blocks. The page cache is no part of it, since the kernel can drop it.
    """
    ticks = num_threads = read_bytes = written_bytes = anonymous = shared = 0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):
            fields = _bytes(pid, "stat").rpartition(b")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # user, system, and those of ended children
            num_threads += int(fields[17])
        with suppress(OSError, ValueError, KeyError):
            status = _pairs(pid, "status")
            anonymous += 1024 * status.get("RssAnon", status["VmRSS"])
            shared = max(shared, 1024 * status.get("RssShmem", 0))
        with suppress(OSError, ValueError, KeyError):
            counters = _pairs(pid, "io")
            read_bytes += counters["read_bytes"]
            written_bytes += counters["write_bytes"]
    return ProcessUsage(
        pids=pids,
        cpu_s=ticks / _TICKS,
        memory_bytes=anonymous + shared,
        num_threads=num_threads,
        read_bytes=read_bytes,
        written_bytes=written_bytes,
    )


def visible_devices(pids: frozenset[int]) -> tuple[str, ...] | None:
    """Return the GPUs that any of the processes may use, as CUDA_VISIBLE_DEVICES names them.

    None if nothing restricts them.
    """
    found: dict[str, None] = {}
    for pid in sorted(pids):
        variables = dict(each.partition(b"=")[::2] for each in _bytes(pid, "environ").split(b"\0"))
        devices = variables.get(b"CUDA_VISIBLE_DEVICES")
        if devices is None and pid == os.getpid():
            return None
        names = (devices or b"").decode(errors="replace").split(",")
        found |= dict.fromkeys(name.strip() for name in names if name.strip())
    return tuple(found)


def network_bytes() -> tuple[int, int]:
    """Return what this node has sent and received so far, apart from the loopback interface."""
    sent = received = 0
    with suppress(OSError, ValueError, IndexError):
        for line in (_PROC / "net/dev").read_text().splitlines()[2:]:
            name, _, counters = line.partition(":")
            if name.strip() != "lo":
                received += int(counters.split()[0])
                sent += int(counters.split()[8])
    return sent, received


def node_memory_bytes() -> tuple[int, int]:
    """Return how much memory this node has, and how much of it is available."""
    with suppress(OSError, ValueError, KeyError):
        found = _pairs("meminfo")
        return 1024 * found["MemTotal"], 1024 * found["MemAvailable"]
    return 0, 0


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in _children(pid):
        yield from _tree(child)


def _children(pid: int) -> list[int]:
    """Return the children of all threads of a process; each belongs to the one that started it."""
    found: list[int] = []
    with suppress(OSError):
        for thread in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError, ValueError):
                found += map(int, (thread / "children").read_text().split())
    return found


def _bytes(pid: int, name: str) -> bytes:
    with suppress(OSError):
        return (_PROC / str(pid) / name).read_bytes()
    return b""


def _pairs(*names: object) -> dict[str, int]:
    """Return the numbers of a file with lines such as `VmRSS:   1024 kB`."""
    pairs = {}
    for line in _PROC.joinpath(*map(str, names)).read_text().splitlines():
        name, _, value = line.partition(":")
        first = value.split()[:1]
        if first and first[0].isdigit():
            pairs[name] = int(first[0])
    return pairs
