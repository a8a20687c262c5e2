"""Packages that make other samples, or none, are refused at the start."""

import os
import subprocess
import sys

import pytest

from scripts.workloads.small_runs import write_run
from trainers.errors import ConfigError
from trainers.run.run_state import read_state
from trainers.training.incompatible_packages import check_packages, pair_fault, promotion_fault


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make a package look installed, with these requirements, in front of the real one."""

    def install_it(name, version, *requirements):
        folder = tmp_path / "site" / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {each}" for each in requirements]
        (folder / "METADATA").write_text("\n".join(lines) + "\n")
        return folder.parent

    monkeypatch.syspath_prepend(tmp_path / "site")
    return install_it


def test_what_is_installed_here_is_accepted():
    """Otherwise no test of a training could pass."""
    check_packages()


@pytest.mark.parametrize(
    ("in_main", "in_thread"),
    [("float64", "float32"), ("float32", "float32")],
    ids=["NumPy 2.1.0 and 2.1.1", "NPY_PROMOTION_STATE=legacy"],
)
def test_a_numpy_that_promotes_otherwise_is_refused(in_main, in_thread):
    """The message has what was found, and what to install."""
    fault = promotion_fault(in_main, in_thread)

    assert f"as {in_main} in the main thread and as {in_thread} in others" in fault
    assert "install numpy>=2.1.2" in fault


def test_a_numba_that_refuses_numpy_is_named(install):
    """Both versions are, and what numba allows."""
    install("numba", "0.61.0", "llvmlite>=0.44", "numpy<2.2,>=1.24")
    install("numpy", "2.4.6")

    fault = pair_fault("numba", "numpy")

    assert fault.startswith("numba 0.61.0 needs numpy<2.2,>=1.24, and 2.4.6 is installed")
    with pytest.raises(ConfigError, match=r"numba 0\.61\.0 needs numpy"):
        check_packages()


@pytest.mark.parametrize("found", ["2.1.3", "2.2.0rc1"])
def test_versions_that_fit_are_accepted(install, found):
    """So are candidates of a release."""
    install("numba", "0.61.0", "numpy<2.3,>=1.24")
    install("numpy", found)

    assert pair_fault("numba", "numpy") is None


@pytest.mark.parametrize("marker", ['python_version < "3"', 'extra == "old"'])
def test_what_is_needed_elsewhere_is_no_fault(install, marker):
    """By another Python, or by an extra; what is needed here still is."""
    install("numba", "0.61.0", f"numpy<2.2; {marker}", 'numpy<2.6; python_version >= "3"')
    install("numpy", "2.4.6")

    assert pair_fault("numba", "numpy") is None


def test_a_package_that_is_not_installed_is_no_fault(install):
    """What needs it says so itself."""
    install("numba", "0.61.0", "numpy<2.2")

    assert pair_fault("numba", "no-such-package") is None
    assert pair_fault("no-such-package", "numpy") is None


@pytest.mark.slow
def test_a_run_with_such_packages_does_not_start(tmp_path, install):
    """It is wrong as a config is: exit code 2, and not tried again."""
    site = install("gunpowder", "1.4.4", "zarr<3,>=2")
    install("zarr", "3.4.2")
    folder = write_run(tmp_path, "run")

    done = subprocess.run(
        [sys.executable, "-m", "trainers", str(folder.path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])},
    )

    assert done.returncode == 2
    assert "gunpowder 1.4.4 needs zarr<3,>=2, and 3.4.2 is installed" in read_state(folder).reason
