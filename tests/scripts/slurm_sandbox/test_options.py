"""What a sandbox may be like, and how Slurm is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.slurm_sandbox.configuration import gres_conf, slurm_conf
from scripts.slurm_sandbox.errors import SandboxError
from scripts.slurm_sandbox.folder import Folder
from scripts.slurm_sandbox.options import Options, read_options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodes": 0}, "--nodes is 0; 1 to 90 are possible"),
        ({"preempt_by": "qos", "accounting": False}, "--preempt-by qos needs --accounting"),
        ({"limits": True, "accounting": False}, "--limits needs --accounting"),
        ({"select": "cons_res", "release": "trixie"}, "only cons_tres since 23.11"),
        ({"gpu_types": "a100:2,v100:1"}, "a100:2,v100:1 does not have the 4 GPUs of --gpus"),
        ({"gpu_types": "a100"}, "say TYPE:NUMBER,TYPE:NUMBER"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    """The error names the option, and what is possible."""
    with pytest.raises(SandboxError, match=message):
        Options(**options)


def test_types_of_gpus(tmp_path: Path) -> None:
    """Each type has devices of its own, numbered on."""
    options, folder = Options(gpu_types="a100:1,v100:3"), Folder(tmp_path)

    devices = f"{tmp_path}/dev/fakegpu"
    assert gres_conf(options, folder).splitlines() == [
        "AutoDetect=off",
        f"NodeName=n[1-4] Name=gpu Type=a100 File={devices}[0-0]",
        f"NodeName=n[1-4] Name=gpu Type=v100 File={devices}[1-3]",
    ]
    assert " Gres=gpu:a100:1,gpu:v100:3 " in slurm_conf(options, folder, "host")


def test_unknown_memory(tmp_path: Path) -> None:
    """Slurm is not told how much memory a node has, and does not count it."""
    text = slurm_conf(Options(memory_mb=0), Folder(tmp_path), "host")

    assert "SelectTypeParameters=CR_CPU\n" in text
    assert "RealMemory" not in text
    assert "DefMemPerCPU" not in text


def test_options_of_another_version(tmp_path: Path) -> None:
    """They can be read, so that `down` ends what that version has started."""
    (tmp_path / "options.json").write_text(json.dumps({"nodes": 2, "unheard_of": True}))

    assert read_options(tmp_path / "options.json") == Options(nodes=2)
