"""What the GPUs of a run do, asked of their driver by NVML."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from attrs import frozen

logger = logging.getLogger(__name__)

T = TypeVar("T")

ANSWER_TIMEOUT_S = 5.0
"""A driver that takes longer hangs, and is asked again only once it has answered."""


@frozen(kw_only=True)
class GpuUsage:
    """The use of one GPU; None for what the driver does not tell, as for MIG instances."""

    name: str
    busy_percent: float | None = None
    """Time in which a kernel ran, in the driver's last second or less; any process counts."""
    memory_busy_percent: float | None = None
    """Time in which memory was read or written."""
    memory_bytes: int | None = None
    own_memory_bytes: int | None = None
    """Of the run's processes alone; also None in a container, which cannot tell them."""
    total_memory_bytes: int | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None


class GpuMonitor:
    """Asks the driver on a thread of its own, so that one that hangs stops nobody.

    Without a driver, or with one that does not work, there are no GPUs.

    Args:
        devices: As in CUDA_VISIBLE_DEVICES: UUIDs, their beginnings, or numbers; None for all.
    """

    def __init__(self, devices: Sequence[str] | None) -> None:
        self._devices = devices
        self._has_devices = devices is None or len(devices) > 0
        self._questions: SimpleQueue[frozenset[int]] = SimpleQueue()
        self._answers: SimpleQueue[list[GpuUsage]] = SimpleQueue()
        self._is_late = False
        if self._has_devices:
            threading.Thread(target=self._work, name="NVML", daemon=True).start()

    def ask(self, pids: Collection[int]) -> list[GpuUsage]:
        """Return the use of each GPU, in the order of `devices`; [] if there is no answer.

        Args:
            pids: The processes of the run.
        """
        if not self._has_devices:
            return []
        try:
            if self._is_late:
                self._answers.get_nowait()  # to an earlier question
                self._is_late = False
            self._questions.put(frozenset(pids))
            return self._answers.get(timeout=ANSWER_TIMEOUT_S)
        except Empty:
            if not self._is_late:
                logger.warning("the GPU driver gives no answer within %g s", ANSWER_TIMEOUT_S)
            self._is_late = True
            return []

    def _work(self) -> None:
        nvml, handles = _open(self._devices)
        while True:
            pids = self._questions.get()
            self._answers.put([_usage(nvml, handle, pids) for handle in handles])


def _open(devices: Sequence[str] | None) -> tuple[Any, list[Any]]:
    try:
        import pynvml as nvml

        nvml.nvmlInit()
        if devices is None:
            numbers = range(nvml.nvmlDeviceGetCount())
            return nvml, [nvml.nvmlDeviceGetHandleByIndex(number) for number in numbers]
        return nvml, [_handle(nvml, device) for device in devices]
    except Exception as error:  # NVMLError, of a driver that is not there or does not work
        logger.info("no use of GPUs is recorded: %s", error)
        return None, []


def _handle(nvml: Any, device: str) -> Any:
    if device.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(device))
    return nvml.nvmlDeviceGetHandleByUUID(device)


def _usage(nvml: Any, handle: Any, pids: frozenset[int]) -> GpuUsage:
    def told(ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except Exception:  # NVMLError: not supported by this GPU, or lost
            return None

    name = told(lambda: nvml.nvmlDeviceGetName(handle)) or "unknown"
    rates = told(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    memory = told(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    power_mw = told(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    limit_mw = told(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
    processes = told(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or ()
    own = [each.usedGpuMemory or 0 for each in processes if each.pid in pids]
    return GpuUsage(
        name=name.decode() if isinstance(name, bytes) else str(name),
        busy_percent=rates and float(rates.gpu),
        memory_busy_percent=rates and float(rates.memory),
        memory_bytes=memory and int(memory.used),
        own_memory_bytes=sum(own) or None,
        total_memory_bytes=memory and int(memory.total),
        temperature_c=told(
            lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        ),
        power_w=None if power_mw is None else power_mw / 1000,
        power_limit_w=None if limit_mw is None else limit_mw / 1000,
    )
