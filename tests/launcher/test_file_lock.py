"""Locks between processes, on file systems with `flock` and without."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from launcher import file_lock
from launcher.errors import LockHeldError

HOLD = """
import sys, time
from pathlib import Path
from launcher import file_lock
with file_lock.hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds a lock, until it is killed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def without_flock(monkeypatch):
    """A file system that refuses `flock`, for this process."""

    class Refusing:
        LOCK_EX, LOCK_SH, LOCK_NB = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_NB

        def flock(self, descriptor, operation):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(file_lock, "fcntl", Refusing())


def test_the_holder_is_named(tmp_path, holder):
    """Whoever waits in vain hears which process holds the lock, where, and what it does."""
    with pytest.raises(LockHeldError) as caught, file_lock.hold(tmp_path / "lock", timeout_s=0.1):
        pass

    assert f"process {holder.pid} on {os.uname().nodename} since" in str(caught.value)


def test_a_lock_ends_with_its_process(tmp_path, holder):
    """However that ends."""
    assert file_lock.is_held(tmp_path / "lock")
    holder.kill()

    with file_lock.hold(tmp_path / "lock"):
        assert file_lock.is_held(tmp_path / "lock")
    assert not file_lock.is_held(tmp_path / "lock")


def test_a_lease_does_where_flock_is_refused(tmp_path, without_flock, caplog):
    """It excludes as the lock would, and the first use says so."""
    file_lock._warned.clear()
    path = tmp_path / "lock"
    with file_lock.hold(path):
        assert file_lock.is_held(path)
        with pytest.raises(LockHeldError), file_lock.hold(path, timeout_s=0.1):
            pass
    with file_lock.hold(path, timeout_s=0):
        pass

    assert not file_lock.is_held(path)
    assert caplog.text.count("has no flock (Function not implemented)") == 1


def test_a_folder_of_somebody_else_is_told(tmp_path):
    """One that this user may not write to gives an error that says whom to ask."""
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    child = os.fork()
    if child == 0:
        os.seteuid(65534)
        try:
            with file_lock.hold(tmp_path / "lock"):
                os._exit(1)
        except PermissionError as error:
            os._exit(0 if "ask its owner" in str(error) and "lock" in str(error) else 2)
        finally:
            os._exit(3)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
