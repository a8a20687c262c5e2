"""The Slurm of another Debian release."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.slurm_sandbox import cluster, release
from scripts.slurm_sandbox.errors import CannotHereError, SandboxError
from scripts.slurm_sandbox.folder import Folder
from scripts.slurm_sandbox.options import Options


@pytest.fixture(autouse=True)
def trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing was downloaded yet."""
    monkeypatch.setattr(release, "TREES", tmp_path / "trees")
    return tmp_path / "trees"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with programs; empty."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_path_has_the_programs_of_one_release(trees: Path) -> None:
    """They come first; those of another that were there before are gone."""
    trixie = release.search_path("trixie", "/a:/b")

    assert trixie == f"{trees}/trixie/slurm/usr/bin:{trees}/trixie/slurm/usr/sbin:/a:/b"
    assert release.search_path("bookworm", trixie) == trixie.replace("trixie", "bookworm")
    assert release.search_path("installed", trixie) == "/a:/b"


@pytest.mark.usefixtures("programs")
def test_a_missing_program() -> None:
    """The error names it, and what installs it."""
    with pytest.raises(CannotHereError, match=r"needs debootstrap, dpkg-deb, patchelf"):
        release.provide("trixie")


def test_a_download_that_fails(programs: Path, trees: Path) -> None:
    """The error has debootstrap's words; the next try begins anew."""
    for name in release.TOOLS:
        (programs / name).write_text("#!/bin/sh\necho E: no mirror\nexit 1\n")
        (programs / name).chmod(0o755)

    with pytest.raises(CannotHereError, match=r"trixie: debootstrap cannot .*\n  E: no mirror"):
        release.provide("trixie")

    assert not (trees / "trixie").exists()


def test_one_release_does_not_read_what_another_has_written(tmp_path: Path) -> None:
    """The queue and the accounts stay as they are."""
    folder = Folder(tmp_path)
    folder.options.write_text(json.dumps({"nodes": 2}))

    with pytest.raises(SandboxError, match=r"are those of Slurm installed.*down --wipe"):
        cluster.up(Options(release="trixie"), folder)

    assert folder.release == "installed"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Slurm's sockets have short paths, which pytest's folders are not."""
    with tempfile.TemporaryDirectory(prefix="sandbox-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("has_queue", [False, True])
def test_a_first_start_that_fails(
    short_folder: Path, trees: Path, monkeypatch: pytest.MonkeyPatch, has_queue: bool
) -> None:
    """Another release may come next, unless there is a queue by then that it cannot read."""
    (trees / "trixie" / "slurm" / "usr" / "lib" / "arch" / "slurm-wlm").mkdir(parents=True)
    folder = Folder(short_folder)

    def fail(folder: Folder) -> None:
        assert folder.release == "trixie"
        if has_queue:
            (folder.queue / "job_state").touch()
        raise SandboxError("slurmctld needs port 16817")

    for name in ("check_programs", "name_nodes", "forget_nodes"):
        monkeypatch.setattr(cluster.machine, name, lambda *_: None)
    monkeypatch.setattr(cluster, "_munge", fail)
    with pytest.raises(SandboxError, match="needs port"):
        cluster.up(Options(release="trixie"), folder)

    assert folder.release == ("trixie" if has_queue else "installed")
    assert folder.options.exists() == has_queue
