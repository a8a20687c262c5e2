"""A process of the sandbox that outlives the command which started it."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
from dataclasses import dataclass
from typing import Any

from scripts.slurm_sandbox.errors import SandboxError
from scripts.slurm_sandbox.folder import Folder
from scripts.slurm_sandbox.process import Process, process_of
from scripts.slurm_sandbox.release import search_path
from scripts.slurm_sandbox.whole_file import write_whole

STOP_S = 10
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Daemon:
    name: str
    command: tuple[str, ...]
    settings: str = ""
    """What it read when it started; it has to start again when this changes."""

    def is_as_wanted(self, folder: Folder) -> bool:
        """Whether it runs, and with these settings."""
        record = _read(folder, self.name)
        same = record is not None and record["settings"] == self._digest()
        return same and running(folder, self.name) is not None

    def start(self, folder: Folder) -> None:
        with folder.first_words(self.name).open("wb") as out:
            child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=folder.path,
                env={
                    "PATH": search_path(folder.release, PATH),
                    "HOME": "/root",
                    "SLURM_CONF": str(folder.slurm_conf),
                },
                start_new_session=True,
            )
        process = process_of(child.pid)
        if process is None:
            raise SandboxError(f"{self.name} ended at once.{last_words(folder, self.name)}")
        record = {"pid": process.pid, "start": process.start, "settings": self._digest()}
        write_whole(folder.record(self.name), json.dumps(record))

    def _digest(self) -> str:
        return hashlib.sha256("\0".join([*self.command, self.settings]).encode()).hexdigest()


def running(folder: Folder, name: str) -> Process | None:
    """The process of a daemon that this sandbox has started; None if it does not run."""
    record = _read(folder, name)
    if not record:
        return None
    process = Process(pid=record["pid"], start=record["start"])
    return process if process.is_running() else None


def started(folder: Folder) -> list[str]:
    """The names of all daemons that were started and not stopped."""
    return sorted(path.stem for path in (folder.path / "run").glob("*.json"))


def stop(folder: Folder, name: str) -> None:
    """Ask it to end, wait for it, and kill it if it does not."""
    process = running(folder, name)
    if process:
        process.send(signal.SIGTERM)
        if not process.has_ended_in(STOP_S):
            kill(folder, name)
    folder.record(name).unlink(missing_ok=True)


def kill(folder: Folder, name: str) -> None:
    process = running(folder, name)
    if process:
        process.send(signal.SIGKILL)
        if not process.has_ended_in(STOP_S):
            raise SandboxError(f"{name} (process {process.pid}) survives SIGKILL")
    folder.record(name).unlink(missing_ok=True)


def last_words(folder: Folder, name: str) -> str:
    """For an error: the end of what it wrote."""
    for path in (folder.first_words(name), folder.log(name)):
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        if lines:
            return f"\nThe end of {path}:\n  " + "\n  ".join(lines[-12:])
    return ""


def _read(folder: Folder, name: str) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(folder.record(name).read_text())
    except FileNotFoundError:
        return None
    return record
