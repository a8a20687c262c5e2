"""System metrics: what the processes of a run use of their node, every 15 s.

W&B's own collector would outlive a trainer that is killed. The names and units here are those of
W&B, so that its charts show them as its own; docs/wandb.md has the list.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from attrs import frozen

from trainers.metrics.gpu_usage import GpuMonitor, GpuUsage
from trainers.metrics.metric_writer import MetricWriter
from trainers.metrics.process_usage import (
    ProcessUsage,
    network_bytes,
    node_memory_bytes,
    process_usage,
    run_processes,
    visible_devices,
)
from trainers.run.atomic_write import append_line, atomic_write
from trainers.run.record_writer import RecordWriter
from trainers.run.run_folder import RunFolder
from trainers.run.system_record import GB, SystemSample, SystemTotals, last_sample

logger = logging.getLogger(__name__)

INTERVAL_S = 15.0
MIN_PEAK_S = 5.0
"""The last sample of an attempt may span a moment, in which a tick of the CPU's clock is much."""
MAX_BYTES = 4 * 2**20
"""Of system.jsonl: a day or two. Then every second line of it is dropped, so that a run of months
has few lines of its beginning and all of its end."""
CLOSE_TIMEOUT_S = 1.0
"""Within a preemption's grace; a second time for the disk."""
_MB = 2**20


class SystemMetrics(MetricWriter):
    """Samples on a thread of its own until it is closed; nothing here raises, or waits for a disk.

    Args:
        records: Writes system.jsonl.
    """

    def __init__(self, folder: RunFolder, records: RecordWriter, *, attempt: int) -> None:
        self._folder = folder
        self._records = records
        self._attempt = attempt
        self._is_closed = threading.Event()
        self._knows_totals = False  # of earlier attempts
        self._thread = threading.Thread(target=self._work, name="system metrics", daemon=True)
        self._thread.start()

    def write(self, iteration: int, scalars: Mapping[str, float]) -> None:
        """Do nothing: samples come by the clock."""

    def sync(self) -> None:
        """Do nothing: no checkpoint waits for samples."""

    def close(self, *, finished: bool, preempted: bool) -> None:
        """Take a last sample, unless that hangs."""
        self._is_closed.set()
        self._thread.join(CLOSE_TIMEOUT_S)
        with suppress(OSError):
            self._records.flush(CLOSE_TIMEOUT_S, self._folder.system)

    def _work(self) -> None:
        try:
            sampler = _Sampler(self._attempt)
            while not self._is_closed.wait(INTERVAL_S):
                self._take(sampler)
            self._take(sampler)
        except Exception as error:  # no failure to look may end the training
            logger.warning("the use of this node is not recorded any more: %r", error)

    def _take(self, sampler: _Sampler) -> None:
        if not self._knows_totals:
            try:
                before = last_sample(self._folder)
            except OSError:  # the file system is away: next time
                return
            sampler.start_from(before.totals if before else SystemTotals())
            self._knows_totals = True
        sample = sampler.sample()
        self._records.put(self._folder.system, partial(_append, self._folder, sample.line))


class _Sampler:
    """Turns counters of processes and GPUs into W&B's metrics, and into totals."""

    def __init__(self, attempt: int) -> None:
        self._attempt = attempt
        self._totals = SystemTotals()
        self._node = socket.gethostname()
        self._num_cores = len(os.sched_getaffinity(0))
        self._gpus = GpuMonitor(visible_devices(run_processes()))
        self._start = self._now = _Counters.now(process_usage(run_processes()))

    def start_from(self, totals: SystemTotals) -> None:
        """Add to what earlier attempts have used."""
        self._totals = totals

    def sample(self) -> SystemSample:
        before, self._now = self._now, _Counters.now(process_usage(run_processes()))
        seconds = max(1e-3, self._now.monotonic_s - before.monotonic_s)
        # Of processes that were killed and not waited for, the time is lost: it never falls.
        cpu_s = max(0.0, self._now.usage.cpu_s - before.usage.cpu_s)
        gpus = self._gpus.ask(self._now.usage.pids)
        self._totals = _added(self._totals, self._now.usage, gpus, seconds=seconds, cpu_s=cpu_s)
        return SystemSample(
            time=round(time.time(), 3),
            attempt=self._attempt,
            node=self._node,
            gpus=tuple(gpu.name for gpu in gpus),
            metrics={
                name: round(value, 3)
                for name, value in {
                    "cpu": 100 * cpu_s / seconds / self._num_cores,
                    **_process_metrics(self._now, self._start),
                    **_gpu_metrics(gpus),
                }.items()
            },
            totals=self._totals,
        )


@frozen
class _Counters:
    """Counters of one moment."""

    monotonic_s: float
    usage: ProcessUsage
    sent_bytes: int
    received_bytes: int

    @classmethod
    def now(cls, usage: ProcessUsage) -> _Counters:
        return cls(time.monotonic(), usage, *network_bytes())


def _added(
    totals: SystemTotals,
    usage: ProcessUsage,
    gpus: Sequence[GpuUsage],
    *,
    seconds: float,
    cpu_s: float,
) -> SystemTotals:
    told = [gpu for gpu in gpus if gpu.busy_percent is not None]
    busy_s = sum(seconds * (gpu.busy_percent or 0.0) / 100 for gpu in told)
    memory = max((gpu.own_memory_bytes or gpu.memory_bytes or 0 for gpu in gpus), default=0)
    cores = cpu_s / seconds if seconds >= MIN_PEAK_S else 0.0
    capacity = max((gpu.total_memory_bytes or 0 for gpu in gpus), default=0)
    return SystemTotals(
        seconds=round(totals.seconds + seconds, 3),
        cpu_s=round(totals.cpu_s + cpu_s, 3),
        gpu_s=round(totals.gpu_s + seconds * len(told), 3),
        gpu_busy_s=round(totals.gpu_busy_s + busy_s, 3),
        peak_cores=round(max(totals.peak_cores, cores), 3),
        peak_memory_gb=round(max(totals.peak_memory_gb, usage.memory_bytes / GB), 3),
        peak_gpu_memory_gb=round(max(totals.peak_gpu_memory_gb, memory / GB), 3),
        gpu_memory_gb=round(max(totals.gpu_memory_gb, capacity / GB), 3),
    )


def _process_metrics(now: _Counters, start: _Counters) -> dict[str, float]:
    total, available = node_memory_bytes()
    metrics = {
        "proc.cpu.threads": now.usage.num_threads,
        "proc.memory.rssMB": now.usage.memory_bytes / _MB,
        # Of the run's processes, not of the node's disks: W&B has no other name for it.
        "disk.in": (now.usage.read_bytes - start.usage.read_bytes) / _MB,
        "disk.out": (now.usage.written_bytes - start.usage.written_bytes) / _MB,
        "network.sent": now.sent_bytes - start.sent_bytes,
        "network.recv": now.received_bytes - start.received_bytes,
    }
    if total:
        metrics["proc.memory.percent"] = 100 * now.usage.memory_bytes / total
        metrics["proc.memory.availableMB"] = available / _MB
        metrics["memory_percent"] = 100 * (1 - available / total)
    return metrics


def _gpu_metrics(gpus: Sequence[GpuUsage]) -> dict[str, float]:
    metrics: dict[str, float | None] = {}
    for number, gpu in enumerate(gpus):
        used, total = gpu.memory_bytes, gpu.total_memory_bytes
        power, limit = gpu.power_w, gpu.power_limit_w
        metrics |= {
            f"gpu.{number}.gpu": gpu.busy_percent,
            f"gpu.{number}.memory": gpu.memory_busy_percent,
            f"gpu.{number}.memoryAllocated": 100 * used / total if used and total else None,
            f"gpu.{number}.memoryAllocatedBytes": used,
            f"gpu.{number}.temp": gpu.temperature_c,
            f"gpu.{number}.powerWatts": power,
            f"gpu.{number}.powerPercent": 100 * power / limit if power and limit else None,
        }
    return {name: value for name, value in metrics.items() if value is not None}


def _append(folder: RunFolder, line: bytes) -> None:
    if folder.system.exists() and folder.system.stat().st_size > MAX_BYTES:
        _thin(folder)  # first: it is tried again with the line if it fails
    append_line(folder.system, line, fence=folder.fence)


def _thin(folder: RunFolder) -> None:
    """Drop every second line; the last one stays, which has the totals."""
    lines = folder.system.read_bytes().splitlines(keepends=True)
    with atomic_write(folder.system, fence=folder.fence) as file:
        file.writelines(lines[::-2][::-1])
