"""The Slurm of a Debian release in a tree of its own, beside the one that is installed.

Its programs are told where their loader and libraries lie, so that they run in this machine's file
system as any other: jobs find the same files and the same Python whichever Slurm starts them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from scripts.slurm_sandbox.errors import CannotHereError
from scripts.slurm_sandbox.progress import say

INSTALLED = "installed"
RELEASES = (INSTALLED, "bookworm", "trixie")
TREES = Path("/var/cache/launch/slurm-releases")
PACKAGES = ("slurmctld", "slurmd", "slurmdbd", "slurm-client", "slurm-wlm-basic-plugins")
TOOLS = ("debootstrap", "dpkg-deb", "patchelf")
ELF = b"\x7fELF"


def search_path(release: str, path: str) -> str:
    """A PATH on which the programs of this release come first, and those of no other are."""
    others = [folder for each in RELEASES for folder in _programs(each)]
    rest = [folder for folder in path.split(os.pathsep) if folder not in others]
    return os.pathsep.join([*_programs(release), *rest])


def plugin_settings(release: str) -> str:
    """What slurm.conf and slurmdbd.conf have to say about it."""
    return "" if release == INSTALLED else f"PluginDir={_plugins(TREES / release)}\n"


def slurmd_options(release: str) -> list[str]:
    """The path of slurmstepd is compiled in."""
    return [] if release == INSTALLED else ["-d", f"{_programs(release)[-1]}/slurmstepd"]


def provide(release: str) -> None:
    """Download and unpack it, unless that was done before.

    Raises:
        CannotHereError: A program is missing, or debootstrap has failed.
    """
    tree = TREES / release
    if release == INSTALLED or tree.exists():
        return
    missing = [name for name in TOOLS if not shutil.which(name)]
    if missing:
        raise CannotHereError(
            f"--release {release} needs {', '.join(missing)}, not installed here. On Debian, "
            f"'sudo scripts/setup-slurm --release {release}' installs what is missing; elsewhere "
            "install the package of that name, or leave out --release."
        )
    TREES.mkdir(parents=True, exist_ok=True)
    with (TREES / f"{release}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            new = TREES / f"{release}.new"
            shutil.rmtree(new, ignore_errors=True)
            _download(release, new)
            _unpack(new)
            _relocate(new, tree)
            new.rename(tree)
            say(f"{tree} has the Slurm of Debian {release}")


def _download(release: str, new: Path) -> None:
    log = TREES / f"{release}.log"
    say(f"debootstrap downloads the Slurm of Debian {release}, once; its log: {log}")
    command = ["debootstrap", "--download-only", "--variant=minbase"]
    command += [f"--include={','.join(PACKAGES)}", release, str(new / "download")]
    with log.open("wb") as out:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    if done.returncode:
        words = "\n  ".join(log.read_text(errors="replace").splitlines()[-8:])
        raise CannotHereError(
            f"--release {release}: debootstrap cannot download it (exit status {done.returncode}). "
            f"It needs the network and a mirror of Debian. The end of {log}:\n  {words}"
        )


def _unpack(new: Path) -> None:
    packages = sorted((new / "download").glob("var/cache/apt/archives/*.deb"))
    for package in packages:
        part = "slurm" if package.name.startswith("slurm") else "system"
        subprocess.run(["dpkg-deb", "--extract", package, new / part], check=True)
    shutil.rmtree(new / "download")
    for program in (new / "slurm" / "usr" / "sbin").glob("*-wlm"):
        # an alternative, which only an installed package has
        program.with_name(program.name.removesuffix("-wlm")).symlink_to(program.name)
    say(f"unpacked {len(packages)} packages")


def _relocate(new: Path, tree: Path) -> None:
    """Bind Slurm's own programs and plugins to the libraries that came with them."""
    architecture = _plugins(new).parent.name
    (loader,) = (new / "system" / "lib" / architecture).glob("ld-linux*.so.*")
    libraries = [tree / "system" / each / architecture for each in ("lib", "usr/lib")]
    rpath = ":".join(map(str, [tree / _plugins(new).relative_to(new), *libraries]))
    for file in (new / "slurm" / "usr").rglob("*"):
        if file.is_symlink() or not file.is_file() or not _is_elf(file):
            continue
        # an rpath, unlike a runpath, holds for the libraries of a library, too
        command = ["patchelf", "--force-rpath", "--set-rpath", rpath]
        if file.parent.name in ("bin", "sbin"):
            command += ["--set-interpreter", str(tree / loader.relative_to(new))]
        subprocess.run([*command, file], check=True)


def _is_elf(file: Path) -> bool:
    with file.open("rb") as start:
        return start.read(4) == ELF


def _plugins(tree: Path) -> Path:
    (folder,) = (tree / "slurm" / "usr" / "lib").glob("*/slurm-wlm")
    return folder


def _programs(release: str) -> list[str]:
    usr = TREES / release / "slurm" / "usr"
    return [] if release == INSTALLED else [str(usr / "bin"), str(usr / "sbin")]
