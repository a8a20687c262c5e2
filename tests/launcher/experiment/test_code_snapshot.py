import shutil
import stat
import subprocess
import sys

import pytest

from launcher.errors import LauncherError
from launcher.experiment import code_files
from launcher.experiment.code_snapshot import snapshot_code, verify_snapshot


def write(folder, *names, text="x = 1\n"):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def git(folder, *arguments):
    subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True)


@pytest.fixture
def user(tmp_path):
    """A folder of a user's own modules."""
    folder = tmp_path / "user"
    write(folder, "model.py")
    return folder


@pytest.fixture
def code(tmp_path):
    return tmp_path / "experiments" / "first" / "code"


def modules_of(code, user):
    """The names of the user's files in a new snapshot."""
    return names_in(snapshot_code(code, [user]).python_path[user])


def test_the_copied_code_runs_without_the_original(code, user):
    """A process that is pointed at the snapshot gets our packages and the users' from there."""
    snapshot = snapshot_code(code, [user])
    shutil.rmtree(user)

    program = "import cluster_configs, launcher.cli, model, trainers; print(*sys.modules.values())"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}"],
        env={
            "PYTHONPATH": f"{snapshot.packages}:{snapshot.python_path[user]}",
            "PYTHONSAFEPATH": "1",
        },
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout

    for package in ("cluster_configs", "launcher", "trainers"):
        assert f"{snapshot.packages}/{package}/__init__.py" in found
    assert f"{snapshot.python_path[user]}/model.py" in found
    assert (snapshot.packages / "cluster_configs" / "local.yaml").is_file()
    verify_snapshot(snapshot.path)


def test_equal_code_is_copied_once(code, user):
    """The same code gives the same folder, untouched; a changed line gives another one."""
    first = snapshot_code(code, [user])
    inode = first.path.stat().st_ino

    again = snapshot_code(code, [user])
    write(user, "model.py", text="x = 2\n")
    changed = snapshot_code(code, [user])

    assert again == first
    assert again.path.stat().st_ino == inode
    assert changed.name != first.name
    assert (first.python_path[user] / "model.py").read_text() == "x = 1\n"
    assert set(code.iterdir()) == {first.path, changed.path}


def test_every_folder_has_its_place(code, user, tmp_path):
    """Folders keep their order, a repeated one has one place, and one without code has one too."""
    empty = tmp_path / "empty"
    empty.mkdir()

    snapshot = snapshot_code(code, [user, empty, user])

    assert snapshot.python_path == {
        user: snapshot.path / "user-0",
        empty: snapshot.path / "user-1",
    }
    assert all(path.is_dir() for path in snapshot.python_path.values())


def test_files_are_read_only(code, user):
    """Nobody changes a copied file by accident."""
    path = snapshot_code(code, [user]).path

    modes = {stat.S_IMODE((path / name).stat().st_mode) for name in names_in(path)}
    assert modes == {0o444}


def test_a_changed_snapshot_is_refused(code, user):
    """Files that were changed, removed or added are named, at a start and at a submission."""
    write(user, "old.py", "net/head.py")
    path = snapshot_code(code, [user]).path
    (path / "user-0" / "model.py").chmod(0o644)
    write(path / "user-0", "model.py", "new.py", text="x = 3\n")
    (path / "user-0" / "old.py").unlink()

    message = (
        f"the code in {path} is not what was submitted (changed: user-0/model.py; "
        "missing: user-0/old.py; added: user-0/new.py). Restore it, or remove the "
        "folder and submit again."
    )
    for attempt in (lambda: verify_snapshot(path), lambda: snapshot_code(code, [user])):
        with pytest.raises(LauncherError) as caught:
            attempt()
        assert str(caught.value) == message


def test_a_manifest_cannot_be_exchanged(code, user):
    """The name of the folder says what the manifest holds."""
    path = snapshot_code(code, [user]).path
    manifest = path / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text().replace("user-0/model.py", "user-0/other.py"))

    with pytest.raises(LauncherError, match="was changed; remove"):
        verify_snapshot(path)
    manifest.unlink()
    with pytest.raises(LauncherError, match="cannot be read"):
        verify_snapshot(path)


def test_a_snapshot_that_is_away_is_not_taken_for_a_changed_one(code, user, tmp_path):
    """Its folder may come back, and is worth waiting for."""
    path = snapshot_code(code, [user]).path
    code.rename(tmp_path / "away")

    with pytest.raises(FileNotFoundError):
        verify_snapshot(path)


def test_python_may_leave_its_caches(code, user):
    """Byte code beside the copied modules is no change."""
    path = snapshot_code(code, [user]).path
    write(path / "user-0" / "__pycache__", "model.cpython-311.pyc")

    verify_snapshot(path)


def test_a_copy_that_fails_leaves_nothing(code, user, monkeypatch):
    """A snapshot is whole or absent."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.chmod", full)
    with pytest.raises(OSError, match="No space left"):
        snapshot_code(code, [user])

    assert list(code.iterdir()) == []


def test_volumes_environments_and_experiments_are_no_code(code, user):
    """Of a folder with everything in it, modules and the small configs beside them are copied."""
    write(
        user,
        "settings.json",
        "net/__init__.py",
        "net/configs/deep.yaml",
        "net/fast.cpython-311-x86_64-linux-gnu.so",
        "data/notes.json",
        "data.zarr/raw/.zarray",
        "data.zarr/tool.py",
        "data.n5/attributes.json",
        ".hidden/secret.py",
        "env/pyvenv.cfg",
        "env/lib/module.py",
        "conda/conda-meta/history",
        "conda/module.py",
        "experiments/tool.py",
        "experiments/old/experiment.yaml",
        "experiments/old/runs/a/state.json",
        "experiments/old/code/hash/model.py",
        "results/experiment.yaml",
        "results/runs/a/state.json",
        "results/code/hash/model.py",
        "node_modules/tool.py",
        "__pycache__/model.py",
        "README.md",
    )
    write(user, "net/big.json", text="0" * 1_000_001)

    assert modules_of(code, user) == [
        "experiments/tool.py",
        "model.py",
        "net/__init__.py",
        "net/configs/deep.yaml",
        "net/fast.cpython-311-x86_64-linux-gnu.so",
        "settings.json",
    ]


def test_a_snapshot_holds_no_snapshot(user):
    """Experiments may lie beside the modules, under any name: the code stays the same."""
    code = user / "trainings" / "first" / "code"

    first = snapshot_code(code, [user])

    assert snapshot_code(code, [user]).name == first.name
    assert names_in(first.python_path[user]) == ["model.py"]


def test_links_lead_to_files_only(code, user, tmp_path):
    """A linked module is copied; a linked folder, which may lead anywhere, is not."""
    write(tmp_path / "elsewhere", "shared.py")
    (user / "shared.py").symlink_to(tmp_path / "elsewhere" / "shared.py")
    (user / "volumes").symlink_to(tmp_path / "elsewhere")
    (user / "loop").symlink_to(user)
    (user / "broken.py").symlink_to(user / "nowhere.py")

    assert modules_of(code, user) == ["model.py", "shared.py"]


def test_git_says_what_is_code(code, user):
    """Uncommitted and new files are copied as they are, ignored and removed ones are not."""
    write(user, "removed.py", "ignored.py", "built.so", "inner/tool.py")
    write(user, ".gitignore", text="ignored.py\n*.so\n")
    git(user, "init")
    git(user / "inner", "init")
    git(user, "add", "model.py", "removed.py", ".gitignore")
    (user / "removed.py").unlink()
    write(user, "model.py", text="x = 'uncommitted'\n")
    write(user, "new.py")

    snapshot = snapshot_code(code, [user])

    copied = snapshot.python_path[user]
    assert names_in(copied) == ["built.so", "inner/tool.py", "model.py", "new.py"]
    assert (copied / "model.py").read_text() == "x = 'uncommitted'\n"


def test_a_folder_that_git_ignores_as_a_whole_is_copied(code, user, tmp_path):
    """A home folder may be a repository of a few settings: modules in it still count."""
    write(tmp_path, ".gitignore", text="*\n")
    git(tmp_path, "init")

    assert modules_of(code, user) == ["model.py"]


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        ("_MAX_ENTRIES", "it holds more than 2 files"),
        ("_MAX_FILES", "it holds more than 2 files of code"),
    ],
)
def test_a_huge_folder_is_refused(user, monkeypatch, limit, why):
    """The message says what to set instead."""
    write(user, "a.py", "b.py")
    monkeypatch.setattr(code_files, limit, 2)

    with pytest.raises(LauncherError) as caught:
        code_files.source_files(user, apart_from=user / "code")

    assert str(caught.value) == (
        f"{user} is too large to be copied as the code of the runs: {why}. Set python_path to "
        "smaller folders that hold your modules and little else, or to [] if there are none."
    )
