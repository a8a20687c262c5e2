"""A Slurm of its own for a program, by scripts/slurm-sandbox."""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from scripts.slurm_sandbox.errors import CannotHereError, SandboxError
from scripts.slurm_sandbox.machine import slurm_version
from scripts.slurm_sandbox.release import INSTALLED
from scripts.slurm_sandbox.whole_file import write_whole

SCRIPT = Path(__file__).resolve().parents[1] / "slurm-sandbox"
FOLDERS = Path.home() / ".cache" / "launch"
NUM_SLOTS = 10
FIRST_PORT = 20800
CANNOT_HERE = 3
TIMEOUT_S = 900
"""The first start with a release downloads it."""
Option = str | int | bool
T = TypeVar("T")


class Sandbox:
    """Slurm with nodes n1 to n4; `configure` takes the options of `slurm-sandbox up`."""

    def __init__(self, folder: Path, port_base: int, release: str) -> None:
        self.folder = folder
        self.port_base = port_base
        self.release = release
        self.options: Mapping[str, Option] = {}

    @cached_property
    def env(self) -> dict[str, str]:
        """What a process needs beside its own environment."""
        words = (shlex.split(line) for line in self.script("env").splitlines())
        pairs = (assignment.partition("=") for _export, assignment in words)
        return {name: value for name, _, value in pairs}

    def configure(self, **options: Option) -> None:
        """Start it, or change it: `configure(user_signal=False, grace=2)`; the rest is default."""
        self.options = options
        own: dict[str, Option] = {"port_base": self.port_base, "release": self.release}
        self.script("up", *map(_argument, (own | options).items()))

    def script(self, command: str, *arguments: str) -> str:
        """A command of scripts/slurm-sandbox."""
        words = [sys.executable, str(SCRIPT), command, f"--folder={self.folder}", *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT_S)
        if done.returncode == CANNOT_HERE:
            raise CannotHereError(done.stderr.strip())
        if done.returncode:
            raise SandboxError(f"{done.stdout}{done.stderr}")
        return done.stdout

    def run(self, *command: str, timeout: float = 60) -> str:
        """What a command prints, without the white space around it; it must succeed."""
        done = subprocess.run(
            command,
            env=os.environ | self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode:
            raise SandboxError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def submit(self, script: str, *options: str) -> str:
        """The id of a new job; its output goes nowhere."""
        return self.run("sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", script)

    def details(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says: JobState, Restarts, NodeList, Reason, ..."""
        words = self.run("scontrol", "show", "job", "--oneliner", job).split()
        return {key: value for key, _, value in (word.partition("=") for word in words)}

    def state(self, job: str) -> str:
        return self.details(job)["JobState"]

    def preempt(self, job: str, *, hold_s: float = 1) -> str:
        """Take the job's nodes, whole, for so long; the id of the job that does it.

        Whatever else runs there in a partition of a lower tier is preempted as well.
        """
        nodes = self.details(job)["NodeList"]
        if nodes == "(null)":
            raise SandboxError(f"job {job} does not run")
        rank = ["--qos=high"] if self.options.get("preempt_by") == "qos" else []
        options = ["--partition=priority", f"--nodelist={nodes}", "--exclusive", *rank]
        return self.submit(f"sleep {hold_s}", "--time=10", "--job-name=preempts", *options)

    def kill_slurmd(self, node: str) -> None:
        """Lose a node; its tasks live on."""
        self.script("kill-slurmd", node)

    def start_slurmd(self, node: str) -> None:
        self.script("start-slurmd", node)

    def wait_for(self, condition: Callable[[], T], timeout: float = 60) -> T:
        """The first true value of the condition."""
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            if time.monotonic() > deadline:
                queue = self.run("squeue", "--all")
                raise SandboxError(f"not in {timeout} s; the queue:\n{queue}")
            time.sleep(0.1)
        return value

    def restore(self) -> None:
        """No job, every daemon, and the default options."""
        self.configure()  # a job on a lost node ends when that is back
        self.run("scancel", "--user=root")
        self.wait_for(lambda: not self.run("squeue", "--noheader"))


@contextmanager
def sandbox_of_own(*, release: str | None = None, **options: Option) -> Iterator[Sandbox]:
    """One that no other process uses, in a folder that is kept, since a second start is quicker.

    What another Slurm, or another version of this code, has left in the folder is wiped.
    Without a release it is that of the variable SANDBOX_RELEASE, or else the installed Slurm.
    """
    release = release or os.environ.get("SANDBOX_RELEASE", INSTALLED)
    FOLDERS.mkdir(parents=True, exist_ok=True)
    for slot in range(NUM_SLOTS):
        folder = FOLDERS / f"slurm-tests-{slot}"
        with folder.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            sandbox = Sandbox(folder, FIRST_PORT + 1000 * slot, release)
            maker, made_by = folder / "made-by", _maker(release, options)
            kept = maker.exists() and maker.read_text() == made_by
            sandbox.script("down", *([] if kept else ["--wipe"]))  # what a killed test left
            folder.mkdir(exist_ok=True)
            write_whole(maker, made_by)
            try:
                sandbox.configure(**options)
                yield sandbox
            finally:
                sandbox.script("down")
            return
    raise SandboxError(f"all {NUM_SLOTS} sandboxes for programs are in use: {FOLDERS}")


def _maker(release: str, options: Mapping[str, Option]) -> str:
    """What has to be the same to read what lies in a folder: one Slurm cannot read what another
    has written, nor one version of the sandbox; and a newer Slurm refuses accounts that come later.
    """
    code = sha256()
    for file in (SCRIPT, *sorted(Path(__file__).parent.glob("*.py"))):
        code.update(file.read_bytes())
    version = slurm_version() if release == INSTALLED else release
    return f"{version}, accounting {options.get('accounting', True)}, code {code.hexdigest()}\n"


def _argument(option: tuple[str, Option]) -> str:
    name, value = option[0].replace("_", "-"), option[1]
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name}={value}"
