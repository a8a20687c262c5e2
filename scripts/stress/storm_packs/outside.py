"""What the runs of a storm depend on beside Slurm: files, a disk, and a server of volumes."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from scripts.workloads.fault_windows import FaultWindows

DISK_MB = 512


class Disk:
    """A file system of its own at a folder, which can be full."""

    def __init__(self, folder: Path) -> None:
        self.is_full = False
        self._filler = folder / ".filler"

    def fill(self) -> None:
        self.is_full = True
        self.keep_full()

    def keep_full(self) -> None:
        """Take the room too that others have left since."""
        if not self.is_full:
            return
        descriptor = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (2**20, 2**12):
                _write_until_full(descriptor, bytes(size))
        finally:
            os.close(descriptor)

    def empty(self) -> None:
        self.is_full = False
        self._filler.unlink(missing_ok=True)


@frozen(kw_only=True)
class Outside:
    windows: FaultWindows
    disk: Disk
    server: subprocess.Popen[bytes]
    url: str
    """Of what the server serves."""
    weak_node: str = "n2"
    """The one whose GPUs fail."""


@contextmanager
def outside(folder: Path, data: Path) -> Iterator[Outside]:
    """The experiments of the storm in a folder lie on a disk of their own; it needs root.

    Args:
        data: What the server serves.
    """
    for each in (folder / "library", folder / "experiments", data):
        each.mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "http.server", "--protocol=HTTP/1.1", "--bind=127.0.0.1"]
    command += [f"--directory={data}", str(port)]
    with (folder / "server.log").open("wb") as log, _mounted(folder / "experiments"):
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield Outside(
                windows=FaultWindows(folder / "library"),
                disk=Disk(folder / "experiments"),
                server=server,
                url=f"http://127.0.0.1:{port}",
            )
        finally:
            server.kill()
            server.wait()


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", f"-osize={DISK_MB}m", "storm", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _write_until_full(descriptor: int, block: bytes) -> None:
    try:
        while True:
            os.write(descriptor, block)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
