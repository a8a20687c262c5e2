"""Where the files of a sandbox lie."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.slurm_sandbox.errors import SandboxError
from scripts.slurm_sandbox.options import read_options
from scripts.slurm_sandbox.release import INSTALLED, search_path

DEFAULT = Path("~/.cache/launch/slurm-sandbox")
MAX_PATH = 75
"""Below it lie Unix sockets, and the path of one holds 107 bytes."""


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        if len(os.fsencode(self.path)) > MAX_PATH or any(c in " ,=\"'#" for c in str(self.path)):
            raise SandboxError(
                f"--folder {self.path}: Slurm needs a path of at most {MAX_PATH} bytes, "
                "without spaces, commas or quotes"
            )
        self.etc = self.path / "etc"
        self.slurm_conf = self.etc / "slurm.conf"
        self.taken_conf = self.path / "run" / "taken.conf"
        """What slurmctld has read."""
        self.options = self.path / "options.json"
        self.database = self.path / "mysql"
        self.database_socket = self.path / "run" / "mysql.sock"
        self.munge_socket = self.path / "run" / "munge.sock"
        self.munge_key = self.path / "munge" / "munge.key"
        self.queue = self.path / "spool" / "ctld"

    @property
    def release(self) -> str:
        """Whose Slurm runs here."""
        options = read_options(self.options)
        return options.release if options else INSTALLED

    def has_state(self) -> bool:
        """Whether there is a queue, or accounts, that only one release of Slurm can read."""
        places = [each for each in (self.queue, self.database) if each.exists()]
        return any(any(each.iterdir()) for each in places)

    def spool(self, node: str) -> Path:
        return self.path / "spool" / node

    def log(self, daemon: str) -> Path:
        return self.path / "log" / f"{daemon}.log"

    def first_words(self, daemon: str) -> Path:
        """What a daemon said before it had opened its log."""
        return self.path / "log" / f"{daemon}.out"

    def record(self, daemon: str) -> Path:
        """Which process it is."""
        return self.path / "run" / f"{daemon}.json"

    def gpu(self, number: int | str) -> Path:
        return self.path / "dev" / f"fakegpu{number}"

    def environment(self) -> dict[str, str]:
        """What Slurm's commands, and jobs on nodes that are all this machine, need."""
        path = search_path(self.release, os.environ["PATH"])
        return {
            **({"PATH": path} if path != os.environ["PATH"] else {}),
            "SLURM_CONF": str(self.slurm_conf),
            "GLOO_SOCKET_IFNAME": "lo",
            "NCCL_SOCKET_IFNAME": "lo",
            "LAUNCH_FAKE_GPUS": "1",
        }

    def make(self, nodes: list[str], gpus: int) -> None:
        for name in ("etc", "run", "log", "spool/ctld", "dev", "mysql", "munge"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        self.munge_key.parent.chmod(0o700)
        for node in nodes:
            self.spool(node).mkdir(exist_ok=True)
        for number in range(gpus):
            # slurmd refuses a plain file
            if not self.gpu(number).is_symlink():
                self.gpu(number).symlink_to("/dev/null")
        if not self.munge_key.exists():
            self.munge_key.touch(mode=0o600)
            self.munge_key.write_bytes(os.urandom(1024))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One command at a time."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
