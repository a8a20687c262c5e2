import errno
import os
import shutil
import stat
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from launcher.errors import LauncherError
from launcher.experiment import code_files, folder_walk
from launcher.experiment.code_files import source_files
from launcher.experiment.code_snapshot import verify_snapshot, write_snapshot
from launcher.experiment.collect_code import collect_code


def snapshot_code(folder, python_path, **options):
    return write_snapshot(folder, collect_code(folder, python_path, **options))


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


@pytest.mark.parametrize("fails", ["read_bytes", "scandir"])
def test_a_snapshot_that_cannot_be_read_is_not_called_changed(code, user, monkeypatch, fails):
    """A disk that fails for a moment says nothing about the code."""
    path = snapshot_code(code, [user]).path

    def fail(*arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path if fails == "read_bytes" else os, fails, fail)

    with pytest.raises(OSError, match="Input/output error"):
        verify_snapshot(path)


def test_a_mount_that_is_away_is_no_missing_code(code, user):
    """A snapshot that alone is gone was removed; where all are gone, the file system is."""
    path = snapshot_code(code, [user]).path
    shutil.rmtree(path)
    with pytest.raises(LauncherError, match="submit again"):
        verify_snapshot(path)

    code.rmdir()
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


def test_links_are_followed_to_code(code, user, tmp_path):
    """To modules, and to folders with modules in them, with their links; never in a circle."""
    write(tmp_path / "src", "nets/__init__.py", "nets/deep/net.py", "nets/deep/table.npy")
    write(tmp_path / "elsewhere", "shared.py", "volume.bin")
    write(tmp_path / "volumes", "raw.bin")
    (user / "shared.py").symlink_to(tmp_path / "elsewhere" / "shared.py")
    (user / "nets").symlink_to(Path("..") / "src" / "nets")
    (tmp_path / "src" / "nets" / "more").symlink_to(tmp_path / "elsewhere")
    (user / "volumes").symlink_to(tmp_path / "volumes")
    (user / "loop").symlink_to(user)
    (tmp_path / "src" / "nets" / "up").symlink_to(tmp_path)
    (user / "itself").symlink_to(user / "itself")
    (user / "broken.py").symlink_to(user / "nowhere.py")

    found = source_files(user, apart_from=code)

    assert modules_of(code, user) == list(found.names)
    assert found.names == [
        "model.py",
        "nets/__init__.py",
        "nets/deep/net.py",
        "nets/more/shared.py",
        "shared.py",
    ]
    assert found.left_out == [
        "broken.py",
        "itself",
        f"loop -> {user}",
        "nets/deep/table.npy",
        "nets/more/volume.bin",
        f"nets/up -> {tmp_path}",
        f"volumes -> {tmp_path / 'volumes'}",
    ]


def test_several_links_may_lead_to_one_folder(code, user, tmp_path):
    """Each is followed: one of them may be the name that modules are imported by."""
    write(tmp_path / "src", "net.py")
    (user / "nets").symlink_to(tmp_path / "src")
    (user / "old_nets").symlink_to(tmp_path / "src")
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", "a.py")
    (tmp_path / "src" / "other").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "back").symlink_to(tmp_path / "src")  # a circle over two links

    names = ["net.py", "other/a.py"]
    expected = ["model.py", *(f"{link}/{name}" for link in ("nets", "old_nets") for name in names)]
    assert source_files(user, apart_from=code).names == expected


def test_a_linked_folder_may_lead_to_all_data_of_a_site(code, user, tmp_path, monkeypatch):
    """It is left out, and does not hinder the submission."""
    write(tmp_path / "store", "a.py", "b.bin", "c.bin")
    (user / "store").symlink_to(tmp_path / "store")
    monkeypatch.setattr(folder_walk, "_MAX_LINKED_ENTRIES", 2)

    found = source_files(user, apart_from=code)

    assert (found.names, found.left_out) == (["model.py"], [f"store -> {tmp_path / 'store'}"])


def test_links_that_git_tracks_are_followed_too(code, user, tmp_path):
    """git lists a link to a folder as one file."""
    write(tmp_path / "src", "nets/net.py")
    (user / "nets").symlink_to(tmp_path / "src" / "nets")
    git(user, "init")
    git(user, "add", ".")

    assert modules_of(code, user) == ["model.py", "nets/net.py"]


def test_patterns_add_files_to_the_code(code, user):
    """Such as tables that a module reads; what is beside modules otherwise is told of."""
    write(user, "nets/net.py", "nets/a.npy", "nets/b.npy", "nets/notes.md", "tables/c/d.csv")

    found = source_files(user, apart_from=code, include=["nets/a.*", "tables/**/*.csv"])

    assert found.names == ["model.py", "nets/a.npy", "nets/net.py", "tables/c/d.csv"]
    assert found.left_out == ["nets/b.npy"]


def test_patterns_do_not_lead_into_what_is_no_code(code, user, tmp_path):
    """Earlier snapshots, environments and chunks are left out, unless a folder is named."""
    write(
        user,
        "experiments/old/experiment.yaml",
        "experiments/old/runs/a/state.json",
        "experiments/old/code/hash/user-0/a.npy",
        ".venv/a.npy",
        "raw.zarr/a.npy",
        "nets/a.npy",
        "nets/deep/a.npy",
        "a.npy",
    )
    (tmp_path / "weights").mkdir()
    write(tmp_path / "weights", "w.pt", "more/w.pt")
    (user / "weights").symlink_to(tmp_path / "weights")

    def found(*patterns):
        names = source_files(user, apart_from=code, include=patterns).names
        return [name for name in names if name != "model.py"]

    assert found("**/*.npy") == ["a.npy", "nets/a.npy", "nets/deep/a.npy"]
    assert found("weights/*.pt", "raw.zarr/[a-c].npy") == ["raw.zarr/a.npy", "weights/w.pt"]
    assert found("*/*/a.npy", "a.npy") == ["a.npy", "nets/deep/a.npy"]


def test_a_pattern_is_looked_for_as_far_as_it_leads(code, user, monkeypatch):
    """What lies deeper may be large; too much where it is to be looked for is refused."""
    write(user, "table.npy", *(f"data/{number}.bin" for number in range(9)))
    git(user, "init")
    monkeypatch.setattr(folder_walk, "_MAX_ENTRIES", 8)

    found = source_files(user, apart_from=code, include=["*.npy"])
    assert found.names == ["model.py", "table.npy"]
    with pytest.raises(LauncherError, match="it holds more than 8 files"):
        source_files(user, apart_from=code, include=["**/*.npy"])


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


def test_a_folder_that_git_tracks_may_be_gone(code, user):
    """As after `rm -r`, before the next commit; a file may have its place."""
    write(user, "gone/a.py", "now_a_file/b.py")
    git(user, "init")
    git(user, "add", ".")
    shutil.rmtree(user / "gone")
    shutil.rmtree(user / "now_a_file")
    (user / "now_a_file").touch()

    assert modules_of(code, user) == ["model.py"]


def test_a_folder_that_git_ignores_as_a_whole_is_copied(code, user, tmp_path):
    """A home folder may be a repository of a few settings: modules in it still count."""
    write(tmp_path, ".gitignore", text="*\n")
    git(tmp_path, "init")

    assert modules_of(code, user) == ["model.py"]


@pytest.mark.parametrize(
    ("module", "limit", "why"),
    [
        (folder_walk, "_MAX_ENTRIES", "it holds more than 2 files"),
        (code_files, "_MAX_FILES", "it holds more than 2 files of code"),
    ],
)
def test_a_huge_folder_is_refused(user, monkeypatch, module, limit, why):
    """The message says what to set instead."""
    write(user, "a.py", "b.py")
    monkeypatch.setattr(module, limit, 2)

    with pytest.raises(LauncherError) as caught:
        code_files.source_files(user, apart_from=user / "code")

    assert str(caught.value) == (
        f"{user} is too large to be copied as the code of the runs: {why}. Set python_path to "
        "smaller folders that hold your modules and little else, or to [] if there are none."
    )


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder that this Python looks in by itself, as after `pip install -e`."""
    folder = tmp_path / "src"
    write(folder, "own_net/__init__.py", "own_net/deep.py", "own_net/table.npy", "other.py")
    monkeypatch.syspath_prepend(folder)
    return folder


def run_with(snapshot, program, *more_path):
    """What a program prints that a job of this snapshot would run."""
    path = [snapshot.packages, *more_path]
    environment = {"PYTHONPATH": ":".join(map(str, path)), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip()


def test_packages_that_are_installed_editable_are_copied(code, user, installed):
    """Those that configs name, as a whole: what is edited after the submission does not run."""
    write(installed, "own_net/.gitignore", text="_version.py\n")
    write(installed, "own_net/_version.py")
    git(installed, "init")

    snapshot = snapshot_code(
        code, [user], import_paths=["own_net.deep:Net"], include=["own_net/*.npy"]
    )
    write(installed, "own_net/deep.py", text="raise SystemExit('edited')\n")

    assert snapshot.own_packages == ("own_net",)
    assert names_in(snapshot.packages / "own_net") == [
        "__init__.py",
        "_version.py",
        "deep.py",
        "table.npy",
    ]
    assert snapshot.copies_of([user]) == (snapshot.packages, snapshot.python_path[user])
    program = "import own_net.deep as deep; print(deep.__file__)"
    assert run_with(snapshot, program, installed) == f"{snapshot.packages}/own_net/deep.py"


def test_what_an_own_package_imports_is_copied_too(code, user, installed):
    """If it is not installed as a copy either; modules beside the experiment count as well."""
    write(installed, "own_net/deep.py", text="import torch, os.path\nfrom other import x\n")
    write(user, "model.py", text="def late():\n    from own_net import deep\n")

    snapshot = snapshot_code(code, [user], import_paths=["model:Net"])

    assert set(snapshot.own_packages) == {"own_net", "other"}
    assert (snapshot.packages / "other.py").is_file()
    assert not (snapshot.packages / "torch").exists()
    assert not (snapshot.packages / "model.py").exists()


@pytest.mark.parametrize(("position", "is_refused"), [(0, True), (-1, False)])
def test_an_editable_package_that_goes_before_every_copy_is_refused(
    code, user, installed, monkeypatch, position, is_refused
):
    """As of meson-python, whose finder goes first; that of setuptools goes last."""

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            return PathFinder.find_spec(name, [str(installed)]) if name == "own_net" else None

    sys.path.remove(str(installed))
    finders = list(sys.meta_path)
    finders.insert(position if position == 0 else len(finders), Finder)
    monkeypatch.setattr(sys, "meta_path", finders)

    if not is_refused:
        assert snapshot_code(code, [user], import_paths=["own_net:x"]).own_packages == ("own_net",)
        return
    with pytest.raises(
        LauncherError, match=r"own_net is installed editable, in .*`pip install \.`"
    ):
        snapshot_code(code, [user], import_paths=["own_net:x"])
    write(user, "model.py", text="import own_net\n")
    (doubt,) = collect_code(code, [user], import_paths=["model:x"]).doubts
    assert doubt.startswith("own_net is imported from where it may be edited later: ")


def test_what_is_installed_as_a_copy_is_not_copied(code, user):
    """Nobody edits it, and it may be large."""
    snapshot = snapshot_code(code, [user], import_paths=["attrs:Factory", "json:dumps"])

    assert snapshot.own_packages == ()
    assert names_in(snapshot.path / "packages")[-1].startswith("trainers/")
    assert collect_code(code, [user], import_paths=["attrs:Factory"]).installed == ("attrs",)


def test_a_copy_that_hides_ones_own_module_is_told_of(code, user):
    """As in a run on this machine, what is installed goes first."""
    write(user, "attrs/__init__.py", "json.py")

    (doubt,) = collect_code(code, [user], import_paths=["attrs:Factory"]).doubts

    assert doubt.startswith("attrs is imported as it is installed, in ")
    assert f"and not from {user}: uninstall it" in doubt


def test_namespace_packages_are_copied(code, user, tmp_path, monkeypatch):
    """From all folders that make one up."""
    for folder, name in (("a", "one"), ("b", "two")):
        write(tmp_path / folder, f"own_lab/{name}/net.py")
        monkeypatch.syspath_prepend(tmp_path / folder)

    snapshot = snapshot_code(code, [user], import_paths=["own_lab.one.net:Net"])

    assert names_in(snapshot.packages / "own_lab") == ["one/net.py", "two/net.py"]
    program = "import own_lab.two.net as net; print(net.__file__)"
    found = run_with(snapshot, program, tmp_path / "b")
    assert found == f"{snapshot.packages}/own_lab/two/net.py"


def test_a_resubmission_has_the_own_packages_of_the_submission(code, user, installed):
    """They are taken from the snapshot that the runs' configs name, and not from where they lie."""
    first = snapshot_code(code, [user], import_paths=["own_net.deep:Net"])
    write(installed, "own_net/deep.py", text="x = 'edited'\n")

    again = snapshot_code(code, first.copies_of([user]), import_paths=["own_net.deep:Net"])

    assert again.own_packages == ("own_net",)
    assert (again.packages / "own_net" / "deep.py").read_text() == "x = 1\n"
    assert again.path == first.path


def test_a_newer_launcher_takes_over_the_own_packages(code, user, installed, tmp_path, monkeypatch):
    """Then the snapshot is another one, and the folder of packages is made once."""
    first = snapshot_code(code, [user], import_paths=["own_net.deep:Net"])
    monkeypatch.setattr("cluster_configs.__path__", [str(tmp_path / "newer")])
    write(tmp_path / "newer", "__init__.py")

    again = snapshot_code(code, first.copies_of([user]), import_paths=["own_net.deep:Net"])

    assert again.path != first.path
    assert (again.packages / "own_net" / "deep.py").read_text() == "x = 1\n"


def test_different_own_packages_of_one_name_are_refused(code, user, installed):
    """The jobs of a submission share them: one would train what it was not submitted with."""
    write(installed, "own_net/gone.py")
    first = snapshot_code(code, [user], import_paths=["own_net.deep:Net"])
    (installed / "own_net" / "gone.py").unlink()
    second = snapshot_code(code, [user], import_paths=["own_net.deep:Net"])
    both = [*first.copies_of([user]), *second.copies_of([user])]

    with pytest.raises(LauncherError) as caught:
        collect_code(code, both, import_paths=["own_net.deep:Net"])
    assert str(caught.value).startswith(
        "these runs were submitted with different code of own_net "
        f"({first.path} and {second.path}), and the jobs"
    )
    assert "Resubmit the runs of each by themselves, as EXPERIMENT/RUN" in str(caught.value)

    mixed = [*first.copies_of([user]), user]
    with pytest.raises(LauncherError, match=r"different code of own_net .* and no copy so far"):
        collect_code(code, mixed, import_paths=["own_net.deep:Net"])


@pytest.mark.parametrize("name", ["nets.py", "nets/__init__.py", "nets/deep.py"])
def test_a_resubmission_has_the_copied_modules_wherever_they_are_found_now(
    code, user, tmp_path, monkeypatch, name
):
    """Here the folder was put on PYTHONPATH after the submission, and the module edited."""
    module = name.replace("/", ".").removesuffix(".py").removesuffix(".__init__")
    write(user, "helper.py")
    write(user, name, text="from helper import x\n")
    first = snapshot_code(code, [user], import_paths=[f"{module}:x"])
    write(user, name, "helper.py", text="x = 'edited'\n")
    monkeypatch.syspath_prepend(user)

    again = snapshot_code(code, first.copies_of([user]), import_paths=[f"{module}:x"])

    assert run_with(again, f"from {module} import x; print(x)", user) == "1"
    assert set(again.own_packages) == {"nets", "helper"}
    write(user, name, "helper.py", text="x = 'edited again'\n")
    third = snapshot_code(code, again.copies_of(first.copies_of([user])), import_paths=["nets:x"])
    assert run_with(third, f"from {module} import x; print(x)", user) == "1"


def test_a_named_module_is_copied_though_git_ignores_it(code, user):
    """What a config names is needed, generated or not."""
    write(user, ".gitignore", text="gen\nignored.py\nother\n")
    write(user, "ignored.py", "gen/net.py", "other/net.py")
    git(user, "init")

    snapshot = snapshot_code(code, [user], import_paths=["ignored:Net", "gen.net:Net"])

    assert names_in(snapshot.python_path[user]) == ["gen/net.py", "ignored.py", "model.py"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_repository_of_somebody_else_says_what_it_ignores(code, user, monkeypatch):
    """git has doubts about it, which must not mean that all files are taken."""
    write(user, "ignored.py", ".gitignore", text="ignored.py\n")
    git(user, "init")
    for path in [user, *user.rglob("*")]:
        os.chown(path, 54321, 54321)

    assert source_files(user, apart_from=code).names == ["model.py"]

    monkeypatch.setattr(code_files, "_GIT_ENVIRONMENT", {"LC_ALL": "C"})  # as git before 2.38
    found = source_files(user, apart_from=code)
    assert found.names == ["ignored.py", "model.py"]
    assert "dubious ownership" in found.doubt
    (doubt,) = collect_code(code, [user]).doubts
    assert doubt.startswith(f"files of {user} are copied though git may ignore them: fatal: ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_nested_repository_that_git_refuses_is_copied_as_a_whole(code, user, monkeypatch):
    """Its files do not vanish without a word."""
    write(user, "inner/tool.py", "inner/ignored.py", "inner/.gitignore", text="ignored.py\n")
    git(user, "init")
    git(user / "inner", "init")
    for path in [user / "inner", *(user / "inner").rglob("*")]:
        os.chown(path, 54321, 54321)
    monkeypatch.setattr(code_files, "_GIT_ENVIRONMENT", {"LC_ALL": "C"})  # as git before 2.38

    found = source_files(user, apart_from=code)

    assert found.names == ["inner/ignored.py", "inner/tool.py", "model.py"]
    assert "dubious ownership" in found.doubt


def test_a_job_imports_nothing_else(code, user, installed):
    """Whatever puts another folder first: both paths are named. Installed copies are no other."""
    snapshot = snapshot_code(code, [user], import_paths=["own_net:x"])
    program = (
        "from trainers.errors import ConfigError\n"
        "from trainers.imports import load_object\n"
        "print(load_object('json:dumps').__name__, load_object('own_net:x'))\n"
        "import sys; sys.path.append(sys.argv[-1])\n"
        "try: load_object('late:x')\n"
        "except ConfigError as error: print(error)\n"
    )
    write(installed.parent / "elsewhere", "late.py")

    program = program.replace("sys.argv[-1]", repr(str(installed.parent / "elsewhere")))
    printed = run_with(snapshot, program, installed)

    begin = (
        f"dumps 1\n'late:x' was imported from {installed.parent}/elsewhere/late.py, which is not a"
    )
    assert printed.startswith(begin)
    assert f"the code that was submitted, in {snapshot.path}. Look for" in printed
