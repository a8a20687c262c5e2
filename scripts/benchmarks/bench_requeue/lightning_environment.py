"""Lightning in a virtual environment of its own, which has the project's torch."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from scripts.workloads.checkout import ROOT

FOLDER = ROOT / ".venv-peers"
PACKAGES = (
    "lightning==2.6.6",
    "pytorch-lightning==2.6.6",
    "lightning-utilities==0.15.3",
    "torchmetrics==1.9.0",
)


def python_with_lightning() -> Path:
    """The interpreter; the first call makes the environment."""
    python, done = FOLDER / "bin" / "python", FOLDER / "packages.txt"
    if done.exists() and done.read_text().split() == list(PACKAGES):
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
    (site_packages,) = FOLDER.glob("lib/python*/site-packages")
    (site_packages / "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *PACKAGES], check=True)
    done.write_text("\n".join(PACKAGES))
    return python
