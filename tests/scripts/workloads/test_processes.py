"""Processes as Linux sees them."""

import subprocess
import sys
from multiprocessing import resource_tracker

from scripts.workloads.processes import children


def test_children_are_those_that_somebody_has_started() -> None:
    """The tracker of multiprocessing is not, which some package's lock may start at any time."""
    before = children()
    resource_tracker.ensure_running()

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert children() - before == {child.pid}
        child.communicate(b"\n")

    assert children() == before
