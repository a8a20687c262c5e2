"""What a sandbox for a program finds in its folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from scripts.slurm_sandbox import sandbox as module
from scripts.slurm_sandbox.sandbox import Option, Sandbox, sandbox_of_own


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of the first sandbox, for which no daemon starts: `up` only writes a queue."""

    def script(sandbox: Sandbox, command: str, *arguments: str) -> str:
        if "--wipe" in arguments:
            shutil.rmtree(sandbox.folder, ignore_errors=True)
        if command == "up":
            options = {"release": sandbox.release}
            (sandbox.folder / "options.json").write_text(json.dumps(options))
            (sandbox.folder / "queue").touch()
        return ""

    monkeypatch.setattr(Sandbox, "script", script)
    monkeypatch.setattr(module, "FOLDERS", tmp_path)
    monkeypatch.setattr(module, "slurm_version", lambda: "slurm-wlm 22.05.8")
    monkeypatch.delenv("SANDBOX_RELEASE", raising=False)
    return tmp_path / "slurm-tests-0"


def keeps(folder: Path, release: str | None = None, **options: Option) -> bool:
    """Whether the next sandbox in the folder has what lies there now."""
    (folder / "kept").touch()
    with sandbox_of_own(release=release, **options):
        return (folder / "kept").exists()


def test_what_the_same_slurm_has_left_is_kept(folder: Path) -> None:
    """A second start is quicker."""
    with sandbox_of_own():
        pass

    assert keeps(folder)
    assert keeps(folder, grace=2)


def test_what_others_have_left_is_wiped(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another release, an upgraded Slurm, other code; and of 24.11 without accounts."""
    with sandbox_of_own():
        pass

    assert not keeps(folder, release="trixie", accounting=False)
    assert not keeps(folder, release="trixie")
    assert keeps(folder, release="trixie")
    assert not keeps(folder)
    monkeypatch.setattr(module, "slurm_version", lambda: "slurm-wlm 24.11.5")
    assert not keeps(folder)
    (tmp_path / "slurm-sandbox").write_text("another version")
    monkeypatch.setattr(module, "SCRIPT", tmp_path / "slurm-sandbox")
    assert not keeps(folder)


def test_what_an_older_version_has_left_is_wiped(folder: Path) -> None:
    """It said neither who it was nor which release."""
    folder.mkdir()
    (folder / "options.json").write_text(json.dumps({"nodes": 4}))

    assert not keeps(folder)
