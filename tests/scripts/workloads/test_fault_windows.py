"""Calls of other processes that fail, or hang, for as long as a window is open."""

from __future__ import annotations

import errno
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.workloads.empty_volume import write_empty_volume
from scripts.workloads.fault_windows import HANG, NUM_WINDOWS, FaultWindows
from scripts.workloads.file_calls import ALL

CALLS = """
import fcntl, os, sys
from pathlib import Path

folder = Path(sys.argv[1])
calls = {
    "open": lambda: os.open(folder / "file", os.O_RDONLY),
    "read": lambda: os.read(descriptor, 1),
    "stat": lambda: os.stat(folder / "file"),
    "list": lambda: os.listdir(folder),
    "close": lambda: os.close(os.dup(descriptor)),
    "create": lambda: os.open(folder / "new", os.O_WRONLY | os.O_CREAT),
    "write": lambda: os.write(descriptor, b"x"),
    "truncate": lambda: os.ftruncate(descriptor, 1),
    "mkdir": lambda: os.mkdir(folder / f"folder-{next(numbers)}"),
    "rename": lambda: os.rename(folder / "file", folder / "file"),
    "unlink": lambda: Path(folder / "new").unlink(missing_ok=True),
    "touch": lambda: os.utime(folder / "file"),
    "fsync": lambda: os.fsync(descriptor),
    "lock": lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB),
}
descriptor = os.open(folder / "file", os.O_RDWR)
numbers = iter(range(1000))
for line in sys.stdin:
    failed = []
    for name, call in calls.items():
        try:
            call()
        except OSError as error:
            failed.append(f"{name}:{error.errno}")
    print(*failed, flush=True)
"""
"""Makes every call at each line that it is sent, and says which have failed."""
READ_VOLUME = """
import sys
import tensorstore

store = tensorstore.open(
    {"driver": "zarr", "kvstore": {"driver": "file", "path": sys.argv[1]}}, read=True
)
print(store.result()[...].read().result().sum())
"""


@pytest.fixture
def windows(tmp_path: Path) -> FaultWindows:
    (tmp_path / "library").mkdir()
    return FaultWindows(tmp_path / "library")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("content")
    return tmp_path / "folder"


@contextmanager
def started(
    windows: FaultWindows, code: str, *arguments: object
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **windows.environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def calling(windows: FaultWindows, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has opened its file, and that no call has failed so far."""
    with started(windows, CALLS, folder) as process:
        assert failures(process) == {}
        yield process


def failures(process: subprocess.Popen[str]) -> dict[str, int]:
    """The errno of each operation that fails now."""
    ask(process)
    return answer(process)


def ask(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> dict[str, int]:
    assert process.stdout
    pairs = [each.split(":") for each in process.stdout.readline().split()]
    return {name: int(number) for name, number in pairs}


def test_calls_of_a_running_process_fail_while_a_window_is_open(
    windows: FaultWindows, folder: Path
) -> None:
    """Every operation, with the errno that was asked for; before and after, none."""
    with calling(windows, folder) as process:
        with windows.open(folder, errno.ESTALE, ALL):
            assert failures(process) == dict.fromkeys(ALL, errno.ESTALE)
        assert failures(process) == {}


def test_a_window_is_for_its_operations_only(windows: FaultWindows, folder: Path) -> None:
    """What fails is what was named."""
    with (
        calling(windows, folder) as process,
        windows.open(folder, errno.ENOSYS, ["lock"]),
        windows.open(folder, errno.EDQUOT, ["create", "write"]),
    ):
        assert failures(process) == {
            "create": errno.EDQUOT,
            "write": errno.EDQUOT,
            "lock": errno.ENOSYS,
        }


def test_a_window_is_for_its_paths_only(windows: FaultWindows, folder: Path) -> None:
    """A folder whose name begins alike is another one, and a part of a path narrows it down."""
    with calling(windows, folder) as process:
        with windows.open(folder.with_name("fol"), errno.EIO):
            assert failures(process) == {}
        with windows.open(folder, errno.EIO, part="/new"):
            assert failures(process) == {"create": errno.EIO, "unlink": errno.EIO}


def test_a_window_closes_by_itself(windows: FaultWindows, folder: Path) -> None:
    """When its time is over, also if nobody is there to close it."""
    with calling(windows, folder) as process:
        window = windows.open(folder, errno.EIO, seconds=0.1)
        while window.is_open:
            failures(process)
        assert failures(process) == {}


def test_a_call_hangs_until_its_window_is_closed(windows: FaultWindows, folder: Path) -> None:
    """Then it is made as if nothing had been."""
    with calling(windows, folder) as process:
        with windows.open(folder, HANG, ["fsync"]) as window:
            ask(process)
            window.wait_until_struck()
            assert process.stdout
            assert select.select([process.stdout], [], [], 0.2)[0] == []
        assert answer(process) == {}


def test_children_have_the_same_windows(windows: FaultWindows, folder: Path) -> None:
    """A shell's child that is another program fails too."""
    command = ["sh", "-c", f"cat {folder / 'file'}"]
    environment = {**os.environ, **windows.environment}
    with windows.open(folder, errno.EIO, ["read"]) as window:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "Input/output error" in done.stderr
    assert window.num_struck == 1


@pytest.mark.parametrize("operation", ["open", "read"])
def test_volumes_are_read_through_the_same_calls(
    windows: FaultWindows, tmp_path: Path, operation: str
) -> None:
    """TensorStore has no way around them."""
    volume = tmp_path / "volume.zarr"
    write_empty_volume(volume)
    with (
        windows.open(volume, errno.EIO, [operation]),
        started(windows, READ_VOLUME, volume / "raw") as process,
    ):
        said, _ = process.communicate()
    assert "EIO" in said or "Input/output error" in said
    with started(windows, READ_VOLUME, volume / "raw") as process:
        assert process.communicate() == ("0\n", None)


def test_only_so_many_windows_can_be_open(windows: FaultWindows, folder: Path) -> None:
    """A closed one gives its place to the next one, with a count of its own."""
    opened = [windows.open(folder, errno.EIO) for _ in range(NUM_WINDOWS)]
    with pytest.raises(RuntimeError, match="windows are open"):
        windows.open(folder, errno.EIO)
    opened[3].close()
    assert windows.open(folder, errno.EIO).num_struck == 0
