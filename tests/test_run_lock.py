import os
import subprocess
import sys

import pytest

from trainers.errors import RunLockedError
from trainers.run_folder import RunFolder
from trainers.run_lock import is_locked, read_lease, run_lock

HOLD = """
import sys
from trainers.run_folder import RunFolder
from trainers.run_lock import run_lock
with run_lock(RunFolder(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the run in `tmp_path`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused(tmp_path, holder):
    """Whoever comes second is told who holds the run."""
    message = f"trained by process {holder.pid} on "
    with pytest.raises(RunLockedError, match=message), run_lock(RunFolder(tmp_path)):
        pass


def test_a_killed_holder_holds_nothing(tmp_path, holder):
    """The lock goes with the process, even with SIGKILL; the lease still says who it was."""
    folder = RunFolder(tmp_path)
    assert is_locked(folder)

    holder.kill()
    holder.wait()

    assert not is_locked(folder)
    assert read_lease(folder)["pid"] == holder.pid
    with run_lock(folder):
        assert read_lease(folder)["pid"] == os.getpid()


def test_a_run_that_never_ran_is_free(tmp_path):
    """Without a lease nobody trains the run."""
    assert not is_locked(RunFolder(tmp_path))
    assert read_lease(RunFolder(tmp_path)) == {}
