"""Slurm as far as looking goes: programs that print what a test says, and note their calls."""

import json
import shlex
import time
from pathlib import Path

import attrs

from launcher.experiment.experiment_folder import PackFolder
from launcher.job.pack import Member, Pack, SlurmTerms, SubmittedJob, write_job, write_pack
from launcher.slurm.jobs import QUEUE_COLUMNS
from trainers.config.config_io import read_run_config
from trainers.run.run_state import read_state, write_state

PROGRAMS = ("squeue", "sacct", "scancel")


class FakeSlurm:
    """The only Slurm on the path."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self._calls = folder / "calls"
        bin_folder = folder / "bin"
        bin_folder.mkdir(parents=True)
        for name in PROGRAMS:
            text = f"""#!/bin/sh
echo {name} "$@" >>{shlex.quote(str(self._calls))}
. {shlex.quote(str(folder))}/{name}.sh
"""
            (bin_folder / name).write_text(text)
            (bin_folder / name).chmod(0o755)
            self._says(name)
        monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin:/bin")
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))

    def _says(self, program, text=""):
        (self.folder / f"{program}.txt").write_text(text)
        file = shlex.quote(str(self.folder / f"{program}.txt"))
        (self.folder / f"{program}.sh").write_text(f"cat {file}\n")

    def queue(self, *jobs):
        """From now on these jobs are in the queue: (id, state) or (id, state, reason) each."""
        for cache in (self.folder / "cache").rglob("queue-*"):
            cache.unlink()
        rows = []
        for job_id, state, *reason in jobs:
            cells = {"JobArrayID": job_id, "State": state, "Reason": (reason or ["None"])[0]}
            rows.append(
                "".join(cells.get(name, "").ljust(width) for name, width in QUEUE_COLUMNS.items())
            )
        self._says("squeue", "".join(f"{row}\n" for row in rows))

    def ended(self, exit_code="0:0", **states):
        """What accounting has: `ended(_12_3="TIMEOUT")`."""
        rows = [
            f"{job_id[1:]}|{state}|{exit_code}|2026-01-01T10:00:00|2026-01-01T11:00:00|n1\n"
            for job_id, state in states.items()
        ]
        self._says("sacct", "".join(rows))

    def is_silent(self, program="squeue"):
        """A program fails, as when the controller is down."""
        self.queue()
        said = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
        (self.folder / f"{program}.sh").write_text(f"echo '{said}' >&2; exit 1\n")

    def calls(self, program):
        """The arguments of every call."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        return [line.partition(" ")[2] for line in lines if line.partition(" ")[0] == program]


def submitted(
    folder,
    name,
    *runs,
    job_id="12_3",
    ago_s=1000.0,
    status="submitted",
    options=None,
    **changes,
):
    """A pack of runs of an experiment, as if it had been submitted to Slurm."""
    pack: PackFolder = folder.pack(name)
    pack.path.mkdir(parents=True)
    terms = SlurmTerms(
        cluster="slurm",
        partition="gpu",
        time_limit_s=3600,
        signal_lead_s=90,
        grace_s=30.0,
        may_requeue=True,
        accounting=True,
        parameters={},
        options=options or {},
    )
    members = tuple(_member(folder.run(run)) for run in runs)
    write_pack(pack, Pack(members=members, machine=None, grace_s=90.0, slurm=terms))
    if job_id is not None:
        write_job(pack, SubmittedJob(job_id=job_id, submitted=time.time() - ago_s))
    for run in map(folder.run, runs):
        run.path.mkdir(parents=True, exist_ok=True)
        write_state(run, attrs.evolve(read_state(run), status=status, pack=name, **changes))
    return pack


def _member(run):
    if run.config.exists():
        return Member.of(read_run_config(run.config))
    return Member(name=run.name, gpus=1, cpus=1)


def job_printed(pack, *lines, job_id="12_3"):
    """The log of a pack's job, as submitit has Slurm name it."""
    folder = pack.experiment.submitit
    folder.mkdir(exist_ok=True)
    path = folder / f"{job_id}_0_log.out"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def add_events(path: Path, *events):
    """Lines of an `events.jsonl`."""
    with path.open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
