"""One submission of the unequal runs, and what one wants to know of it while it lasts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from launcher.experiment.experiment_folder import ExperimentFolder, PackFolder
from launcher.job.pack import read_job, read_pack
from launcher.slurm import client
from scripts.stress.storm_packs.unequal_runs import UnequalRuns
from scripts.workloads.checkout import LAUNCH
from trainers.run.run_folder import RunFolder
from trainers.run.run_state import Cause, RunState, read_state
from trainers.run.sections import Section


@frozen(kw_only=True)
class RunningPack:
    """A pack whose job runs now."""

    folder: PackFolder
    job: str
    nodes: tuple[str, ...]
    members: tuple[str, ...]


class Round:
    """The runs as experiments of its own name, one for each of their files."""

    def __init__(self, runs: UnequalRuns, name: str, partition: str) -> None:
        self.runs = runs
        self.partition = partition
        parent = runs.folder / "experiments"
        self.experiment = ExperimentFolder(parent / name)
        self._reading = ExperimentFolder(parent / f"{name}-reading")

    @property
    def experiments(self) -> list[ExperimentFolder]:
        return [self.experiment, self._reading][: len(self.runs.files)]

    def submit(self) -> list[subprocess.CompletedProcess[str]]:
        return [
            self._launch(
                *("submit", str(file), "--cluster=sandbox", "--allow-invalid", "--json"),
                *(f"--partition={self.partition}", f"name={each.name}", *self.runs.overrides),
            )
            for file, each in zip(self.runs.files, self.experiments, strict=True)
        ]

    def resubmit(self) -> list[subprocess.CompletedProcess[str]]:
        """Submit the waiting runs again that no job is going to resume."""
        return [
            self._launch("resubmit", str(each.path), "--state=waiting", "--json")
            for each in self.experiments
        ]

    def status(self) -> dict[str, dict[str, Any]]:
        """What `launch status` tells of each run; of none before they are submitted."""
        found: dict[str, dict[str, Any]] = {}
        for each in self.experiments:
            if any(each.runs.glob("[!.]*")):
                done = self._launch("status", str(each.path), "--json")
                if done.returncode:
                    raise RuntimeError(f"exit code {done.returncode}: {done.stderr}")
                found |= {run["name"]: run for run in json.loads(done.stdout)}
        return found

    def _launch(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*LAUNCH, *arguments],
            cwd=self.runs.folder,
            capture_output=True,
            text=True,
            timeout=300,
        )

    @property
    def names(self) -> list[str]:
        return [*self.runs.others, self.runs.crasher]

    def run(self, name: str) -> RunFolder:
        return (self._reading if name in self.runs.readers else self.experiment).run(name)

    def state(self, name: str) -> RunState:
        return read_state(self.run(name))

    def hang_counts(self) -> dict[str, int]:
        """How often the watchdog has ended an attempt of each run."""
        return {name: self.state(name).attempts.get(Cause.HANG, 0) for name in self.names}

    def slowest_data_s(self, name: str) -> float | None:
        """The longest that samples of a run have taken, by which its watchdog judges."""
        return self.state(name).slowest_sections_s.get(Section.DATA)

    def left(self) -> list[str]:
        """The runs that are not over, or whose last attempt nobody has judged."""
        return [name for name in self.names if not self._is_over(name)]

    def _is_over(self, name: str) -> bool:
        run, state = self.run(name), self.state(name)
        return state.status.is_over and not run.log(state.num_attempts).exists()

    def packs(self) -> list[PackFolder]:
        paths = [path for each in self.experiments for path in each.jobs.glob("pack-*")]
        return [PackFolder(path) for path in sorted(paths)]

    def running_packs(self) -> list[RunningPack]:
        queue = client.queued_jobs()
        found = []
        for pack in self.packs():
            job = read_job(pack)
            queued = queue.get(job.job_id) if job else None
            if job and queued and queued.state == "RUNNING":
                members = tuple(member.name for member in read_pack(pack).members)
                found.append(
                    RunningPack(folder=pack, job=job.job_id, nodes=queued.nodes, members=members)
                )
        return found

    def jobs_in_queue(self) -> Mapping[str, str]:
        return {job: each.state for job, each in client.queued_jobs().items()}
