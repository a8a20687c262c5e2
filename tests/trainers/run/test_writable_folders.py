import os
import tempfile
from pathlib import Path

import pytest

from trainers.errors import NodeFaultError
from trainers.run import writable_folders
from trainers.run.run_folder import RunFolder
from trainers.run.writable_folders import cache_variables, prepare_folders


def test_a_usable_home_is_used(tmp_path):
    """Nothing changes."""
    assert cache_variables({}, tmp_path, tmp_path / "cache") == {}


def test_caches_go_elsewhere_if_the_home_cannot_be_written(tmp_path):
    """The home itself stays: keys to servers lie there, such as those of W&B."""
    variables = cache_variables({}, tmp_path / "missing", tmp_path / "cache")

    assert variables["NUMBA_CACHE_DIR"] == str(tmp_path / "cache" / "numba")
    assert variables["XDG_CACHE_HOME"] == str(tmp_path / "cache")
    assert "HOME" not in variables


def test_what_the_user_has_set_stays(tmp_path):
    """A folder of the user's own choice is better than ours."""
    variables = cache_variables({"NUMBA_CACHE_DIR": "/scratch"}, None, tmp_path)

    assert "NUMBA_CACHE_DIR" not in variables


def test_a_user_without_a_home_or_a_name_gets_both(tmp_path):
    """`Path.home()` and `getpass.getuser()` raise without, in the middle of libraries."""
    variables = cache_variables({}, None, tmp_path)

    assert (variables["HOME"], variables["USER"]) == (str(tmp_path), str(os.getuid()))


@pytest.fixture
def dead_tmp(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/no", str(tmp_path)])
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("dead_tmp")
def test_a_dead_temporary_folder_is_a_fault_of_the_node(tmp_path, monkeypatch):
    """The working directory, Python's last resort, is no place for temporary files."""
    monkeypatch.setattr(writable_folders, "_home", lambda: tmp_path)

    with pytest.raises(NodeFaultError, match="no usable temporary folder"):
        prepare_folders(RunFolder(Path(tmp_path / "run")))
