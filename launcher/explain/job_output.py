"""Explain what a job printed before its supervisor began, and say what to do about it.

Until then nothing of ours writes a log: the words are those of Slurm, the shell and Python.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen


@frozen(kw_only=True)
class JobProblem:
    """Why a job ended before its supervisor began, as far as its output tells."""

    meaning: str
    advice: str


_NOT_ON_THE_NODE = (
    "submit from an environment on a file system that every node mounts, or let `setup` in the "
    "cluster config prepare the node (`module load …`)"
)
_FULL = "make room where the line above says, or ask for a larger quota; then submit again"
_NODE = "submit again; if it happens again on that node, report the node to an administrator"

_PROBLEMS: tuple[tuple[str, str, str], ...] = (
    (
        r"Disk quota exceeded",
        "a quota is used up",
        _FULL,
    ),
    (r"No space left on device", "a disk is full", _FULL),
    (
        r"oom[-_ ]?kill|Out Of Memory|MemoryError|Cannot allocate memory",
        "it ran out of memory",
        "ask for more memory (resources.memory_gb)",
    ),
    (
        r"DUE TO TIME LIMIT",
        "its time was over",
        "ask for longer jobs (--time); a slow file system may need minutes to start Python",
    ),
    (r"DUE TO PREEMPTION", "it was preempted while it started", "submit again"),
    (r"DUE TO NODE FAILURE|Node failure on", "its node was lost", _NODE),
    (
        r"[Ii]nvalid (?P<what>account|qos|partition)",
        "Slurm does not take its {what}",
        "choose another --{what}; `launch clusters NAME` lists yours",
    ),
    (
        r"No module named '?(?P<module>(?:launcher|submitit|trainers|attr|cattr|yaml)\b[\w.]*)",
        "the launcher is not complete on its node: there is no module {module}",
        _NOT_ON_THE_NODE,
    ),
    (
        r"(?:No module named|cannot import name) '?(?P<module>\w[\w.]*)",
        "{module} cannot be imported on its node",
        f"install it where the runs are submitted from, or {_NOT_ON_THE_NODE}",
    ),
    (
        r"error while loading shared libraries: (?P<library>[^:\s]+)",
        "the library {library} is not on its node",
        _NOT_ON_THE_NODE,
    ),
    (
        r"GLIBC\w*[^\n]* not found|Exec format error|Illegal instruction",
        "its node cannot execute these programs: another system, or another processor",
        "choose nodes like this machine (constraint in the cluster config, or --partition)",
    ),
    (
        r"(?P<command>module|conda|mamba|micromamba|source|spack): (?:command )?not found",
        "the shell of its node does not know `{command}`",
        "let `setup` in the cluster config load what defines it first",
    ),
    (
        r"(?P<program>[^\s:'\"`]*python[\w.]*)['\"`]?: (?:cannot execute: )?"
        r"(?:No such file or directory|required file not found|command not found|not found)",
        "there is no {program} on its node",
        _NOT_ON_THE_NODE,
    ),
    (
        r"No such file or directory: '(?P<path>[^']*/(?:jobs|submitit|code)/[^']*)'",
        "the folder of the experiment is not on its node: {path} is missing there",
        "choose a --root on a file system that every node mounts",
    ),
    (
        r"(?P<path>/[^\s:'\"]*)['\"]?: Permission denied|Permission denied: '(?P<other>[^']*)'",
        "it may not use {path}",
        "look at the permissions of that path on the node, and of the folders above it",
    ),
    (
        r"Stale file handle|Input/output error|Transport endpoint is not connected"
        r"|Remote I/O error",
        "a file system failed on its node",
        _NODE,
    ),
    (
        r"(?P<path>/[^\s:'\"]*)['\"]?: No such file or directory"
        r"|No such file or directory: '(?P<other>[^']*)'",
        "{path} is missing on its node",
        "look whether its file system is mounted there; else correct `setup` in the cluster config",
    ),
    (
        r"Unable to (?:create step|confirm allocation)|Socket timed out|Zero Bytes were transmitted"
        r"|Unable to contact slurm",
        "Slurm itself did not answer it",
        "submit again when `scontrol ping` answers",
    ),
)
"""Pattern, meaning and advice; the first pattern that is found anywhere has the word."""


def job_problem(lines: Sequence[str]) -> JobProblem | None:
    """Return what the end of a job's output tells; None if it is nothing known."""
    text = "\n".join(lines)
    for pattern, meaning, advice in _PROBLEMS:
        if match := re.search(pattern, text):
            named = match.groupdict()
            path = named.get("path") or named.get("other")
            words = {**named, "path": path}
            return JobProblem(meaning=meaning.format(**words), advice=advice.format(**words))
    return None
