"""The wheel works where there is no checkout."""

import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

from scripts.workloads.checkout import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    subprocess.run([*build, folder, ROOT], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs a program of an environment that has the wheel and, for the rest, our own packages."""
    folder = tmp_path_factory.mktemp("elsewhere")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    bin = folder / "env" / "bin"
    site_packages = subprocess.run(
        [bin / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    pip = [sys.executable, "-m", "pip", "--python", str(bin / "python"), "install"]
    subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", wheel], check=True)
    Path(site_packages, "ours.pth").write_text(sysconfig.get_path("purelib"))

    def run(program: str, *arguments: str) -> str:
        return subprocess.run(
            [bin / program, *arguments],
            cwd=folder,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    return run


def test_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    """Code and cluster configs are inside, with the licence; tests, examples, scripts are not."""
    names = ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names}

    assert {each for each in folders if not each.endswith(".dist-info")} == {
        "cluster_configs",
        "launcher",
        "trainers",
    }
    assert "cluster_configs/local.yaml" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_installed_code_is_the_wheel(run: Callable[..., str]) -> None:
    """Outside of the checkout, the packages come from the new environment."""
    code = "import launcher, trainers; print(launcher.__file__, trainers.__file__)"

    assert all("elsewhere" in path for path in run("python", "-c", code).split())


def test_launch_helps(run: Callable[..., str]) -> None:
    """`launch --help` names the commands."""
    text = run("launch", "--help")

    assert all(
        command in text for command in ("submit", "status", "checkpoints", "cancel", "clusters")
    )


def test_packaged_clusters_are_found(run: Callable[..., str]) -> None:
    """`launch clusters` lists the configs that lie in the wheel."""
    text = run("launch", "clusters")

    assert "local" in text
    assert "debug" in text


def test_trainers_are_importable(run: Callable[..., str]) -> None:
    """The public names come out of the wheel with all that they need."""
    code = (
        "import trainers; print(*(getattr(trainers, name).__name__ for name in trainers.__all__))"
    )

    assert "GunpowderTrainer " in run("python", "-c", code)
