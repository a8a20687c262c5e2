"""The files of one call of `sbatch`, and the jobs that are found in the queue by them.

Slurm may take jobs without anybody learning their ids: sbatch times out or is killed, a site's
wrapper prints something else, the submitting process dies. Slurm keeps the path of the script with
each job, and no two calls share a script. So the jobs are found, at once or by any later command.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from attrs import frozen

from launcher.experiment.experiment_folder import ExperimentFolder
from launcher.slurm import client


@frozen(kw_only=True)
class ArrayFiles:
    """The files of the jobs that are submitted together, in submitit's folder of an experiment."""

    folder: Path
    key: str
    """Of this call only."""

    @property
    def packs(self) -> Path:
        """The names of the packs, one a line, in the order of the jobs."""
        return self.folder / f"packs-{self.key}.txt"

    @property
    def script(self) -> Path:
        return self.folder / f"submission-{self.key}.sh"

    def pickle(self, index: str | int) -> Path:
        """Return what submitit runs in a job, under a name that does not depend on the job's id."""
        return self.folder / f"pack-{self.key}-{index}.pkl"


def first_job(files: ArrayFiles) -> str | None:
    """Return the id of the job, or of the array, that Slurm has for the script; None without one.

    Raises:
        SlurmError: Slurm does not answer.
    """
    for job_id, script in client.job_scripts().items():
        if Path(script).name == files.script.name:
            return job_id.partition("_")[0]
    return None


def find_jobs(
    experiment: ExperimentFolder, packs: Collection[str], user: str | None = None
) -> dict[str, str]:
    """Return the jobs of packs that nobody has recorded, by pack; of several, the newest.

    Asks Slurm only if a script was written for one of the packs.

    Args:
        packs: Their names.
        user: Who submitted them, as for `client.queued_jobs`.

    Raises:
        SlurmError: Slurm does not answer.
        OSError: The files cannot be read.
    """
    names_of = _packs_by_script(experiment, packs)
    if not names_of:
        return {}
    found: dict[str, str] = {}
    for job_id, script in client.job_scripts(user).items():
        names = names_of.get(Path(script).name, [])
        index = int(job_id.partition("_")[2] or 0)
        if index < len(names) and names[index] in packs:
            found[names[index]] = max(job_id, found.get(names[index], job_id), key=_array)
    return found


def with_scripts(experiment: ExperimentFolder, packs: Collection[str]) -> set[str]:
    """Return those of the packs that a script was written for, so that Slurm may have taken them.

    Raises:
        OSError: The files cannot be read.
    """
    lists = _packs_by_script(experiment, packs).values()
    return {name for names in lists for name in names if name in packs}


def _packs_by_script(experiment: ExperimentFolder, packs: Collection[str]) -> dict[str, list[str]]:
    """Return all packs of each script that was written for one of these, by the script's name."""
    names_of: dict[str, list[str]] = {}
    for listing in experiment.submitit.glob("packs-*.txt"):
        names = listing.read_text().splitlines()
        if not set(packs).isdisjoint(names):
            key = listing.stem.removeprefix("packs-")
            names_of[ArrayFiles(folder=listing.parent, key=key).script.name] = names
    return names_of


def _array(job_id: str) -> int:
    return int(job_id.partition("_")[0])
