"""What jobs print that end before anything of ours begins, and what to do about it."""

import pytest

from launcher.explain.job_output import job_problem


@pytest.mark.parametrize(
    ("line", "meaning", "advice"),
    [
        (
            "slurmstepd: error: execve(): /opt/venv/bin/python3: No such file or directory",
            "there is no /opt/venv/bin/python3 on its node",
            "on a file system that every node mounts",
        ),
        (
            "/var/spool/slurmd/job00012/slurm_script: line 14: /home/a/.venv/bin/python: No such "
            "file or directory",
            "there is no /home/a/.venv/bin/python on its node",
            "on a file system that every node mounts",
        ),
        (
            "slurm_script: line 20: /opt/bin/python3.11: cannot execute: required file not found",
            "there is no /opt/bin/python3.11 on its node",
            "on a file system that every node mounts",
        ),
        (
            "/opt/venv/bin/python: Error while finding module specification for "
            "'submitit.core._submit' (ModuleNotFoundError: No module named 'submitit')",
            "the launcher is not complete on its node: there is no module submitit",
            "let `setup` in the cluster config",
        ),
        (
            "ModuleNotFoundError: No module named 'launcher.job'",
            "the launcher is not complete on its node: there is no module launcher.job",
            "on a file system that every node mounts",
        ),
        (
            "ModuleNotFoundError: No module named 'mynets'",
            "mynets cannot be imported on its node",
            "install it where the runs are submitted from",
        ),
        (
            "slurm_script: line 9: module: command not found",
            "the shell of its node does not know `module`",
            "let `setup` in the cluster config load what defines it",
        ),
        (
            "python: error while loading shared libraries: libssl.so.3: cannot open shared object "
            "file: No such file or directory",
            "the library libssl.so.3 is not on its node",
            "on a file system that every node mounts",
        ),
        (
            "/lib64/libc.so.6: version `GLIBC_2.34' not found (required by python)",
            "its node cannot execute these programs: another system, or another processor",
            "constraint in the cluster config",
        ),
        (
            "OSError: [Errno 122] Disk quota exceeded: '/home/a/x'",
            "a quota is used up",
            "ask for a larger quota",
        ),
        ("OSError: [Errno 28] No space left on device", "a disk is full", "make room"),
        (
            "slurmstepd: error: Detected 1 oom_kill event in StepId=12.0. Some of the step tasks "
            "have been OOM Killed.",
            "it ran out of memory",
            "resources.memory_gb",
        ),
        (
            "slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2026-01-01T10:00:00 DUE TO TIME "
            "LIMIT ***",
            "its time was over",
            "--time",
        ),
        (
            "srun: error: Unable to create step for job 12: Invalid account or account/partition "
            "combination specified",
            "Slurm does not take its account",
            "choose another --account",
        ),
        (
            "PermissionError: [Errno 13] Permission denied: '/data/experiments/a'",
            "it may not use /data/experiments/a",
            "the permissions of that path on the node",
        ),
        (
            "slurmstepd: error: execve(): /opt/start: Permission denied",
            "it may not use /opt/start",
            "the permissions of that path on the node",
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/e/one/jobs/p-0/pack.json'",
            "the folder of the experiment is not on its node: /e/one/jobs/p-0/pack.json is missing "
            "there",
            "choose a --root",
        ),
        (
            "OSError: [Errno 116] Stale file handle: '/home/a'",
            "a file system failed on its node",
            "report the node",
        ),
        (
            "slurmstepd: error: couldn't chdir to `/home/a': No such file or directory",
            "/home/a is missing on its node",
            "whether its file system is mounted there",
        ),
        (
            "srun: error: Unable to create step for job 12: Socket timed out on send/recv",
            "Slurm itself did not answer it",
            "`scontrol ping`",
        ),
    ],
)
def test_known_words(line, meaning, advice):
    """Among other lines, which say less."""
    found = job_problem(["loading", line, "srun: error: n1: task 0: Exited with exit code 2"])

    assert found is not None
    assert found.meaning == meaning
    assert advice in found.advice


@pytest.mark.parametrize("lines", [[], [""], ["hello"], ["srun: error: Exited with exit code 1"]])
def test_other_words(lines):
    """They are shown as they are, without a guess."""
    assert job_problem(lines) is None
