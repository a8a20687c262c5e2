"""Explain the reasons that Slurm gives for a pending job, and say what to do about them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen


@frozen(kw_only=True)
class PendingReason:
    """Why a job is pending."""

    word: str
    """As Slurm prints it, such as `Priority`."""
    meaning: str
    advice: str
    ends_by_itself: bool
    """Whether waiting is enough: nothing needs to be done."""


_WAIT = "wait; a job that asks for less, or for a shorter --time, may start earlier"
_RELEASE = "`scontrol release {job}` releases it"
_RESUBMIT = "`launch cancel` its runs, then submit them again with {less}"
_OTHERS_END = "wait until other jobs end"
_ANOTHER = "another --qos or --account"

_REASONS: dict[str, tuple[str, str, bool]] = {
    "Priority": ("jobs of a higher priority are ahead of it", _WAIT, True),
    "Resources": ("it is next in line, and nodes are not free yet", _WAIT, True),
    "Prolog": ("its nodes are being made ready", "wait", True),
    "Cleaning": ("its previous start is being cleaned up", "wait", True),
    "BeginTime": (
        "it may not begin before a set time; after a requeue that is some two minutes away",
        "wait",
        True,
    ),
    "Dependency": ("another job has to end first", "wait for that job", True),
    "DependencyNeverSatisfied": (
        "it depends on a job that did not end as required",
        _RESUBMIT.format(less="no such dependency"),
        False,
    ),
    "JobArrayTaskLimit": (
        "as many jobs of its array run as may run at once",
        "wait, or raise max_running in the cluster config before the next submission",
        True,
    ),
    "JobHeldUser": ("you have put it on hold", _RELEASE, False),
    "JobHeldAdmin": (
        "an administrator, or Slurm itself, has put it on hold",
        f"{_RELEASE} if it is not refused; else ask an administrator",
        False,
    ),
    "JobHoldMaxRequeue": (
        "it was requeued so often that Slurm has put it on hold",
        f"see what `launch explain` says about its attempts, then {_RELEASE}",
        False,
    ),
    "launch failed requeued held": (
        "a node could not start it, and Slurm has put it on hold",
        f"{_RELEASE}; if that happens again, report the node to an administrator",
        False,
    ),
    "NodeDown": ("a node that it needs is down", "wait, or ask an administrator", True),
    "ReqNodeNotAvail": (
        "nodes that it needs are down, drained, or reserved, as before a maintenance",
        "see `sinfo -R` and `scontrol show reservation`; a --time that ends before a reservation "
        "begins may start now",
        True,
    ),
    "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions": (
        "nodes that it needs are down, drained, or kept for other partitions",
        "see `sinfo -R`; wait, or choose another --partition",
        True,
    ),
    "Reservation": ("it waits for its reservation to begin", "wait", True),
    "ReservationDeleted": (
        "its reservation is gone",
        _RESUBMIT.format(less="no reservation"),
        False,
    ),
    "PartitionDown": ("its partition starts no jobs at present", "wait, or choose another", True),
    "PartitionInactive": ("its partition is closed", "wait, or choose another --partition", True),
    "PartitionConfig": (
        "it asks for what its partition does not give",
        _RESUBMIT.format(less="another --partition"),
        False,
    ),
    "PartitionNodeLimit": (
        "it asks for more nodes than its partition gives to a job",
        _RESUBMIT.format(less="fewer --nodes or another --partition"),
        False,
    ),
    "PartitionTimeLimit": (
        "it asks for more time than its partition gives to a job",
        _RESUBMIT.format(less="a shorter --time"),
        False,
    ),
    "BadConstraints": (
        "no node has what it asks for",
        _RESUBMIT.format(less="another constraint in the cluster config, or another --partition"),
        False,
    ),
    "AccountNotAllowed": (
        "its partition does not take its account",
        _RESUBMIT.format(less="another --account or --partition"),
        False,
    ),
    "InvalidAccount": (
        "its account is not known, or not yours",
        _RESUBMIT.format(less="another --account"),
        False,
    ),
    "InvalidQOS": (
        "its QOS is not known, or not yours",
        _RESUBMIT.format(less="another --qos"),
        False,
    ),
    "QOSNotAllowed": (
        "its partition or account does not take its QOS",
        _RESUBMIT.format(less="another --qos"),
        False,
    ),
    "Licenses": ("licenses that it needs are in use", "wait", True),
    "MaxMemPerLimit": (
        "it asks for more memory than its partition gives to a job",
        _RESUBMIT.format(less="less resources.memory_gb or another --partition"),
        False,
    ),
    "ReservationInvalid": (
        "its reservation is not known, or not yours",
        _RESUBMIT.format(less="another reservation"),
        False,
    ),
    "QOSUsageThreshold": (
        "its QOS wants users who have used less than you of late",
        _RESUBMIT.format(less="another --qos"),
        False,
    ),
    "AccountingPolicy": (
        "its QOS or account does not allow it",
        "see `scontrol show job {job}`; " + _RESUBMIT.format(less="another --qos or --account"),
        False,
    ),
    "DeadLine": (
        "it cannot end before the deadline that it was given",
        _RESUBMIT.format(less="a shorter --time"),
        False,
    ),
    "SchedDefer": (
        "it asked to start at once or not at all",
        _RESUBMIT.format(less="no `immediate` in the cluster config"),
        False,
    ),
    "BurstBufferOperation": (
        "its burst buffer could not be set up",
        "see `scontrol show job {job}`, and ask an administrator",
        False,
    ),
    "BurstBufferResources": ("it waits for room in the burst buffer", "wait", True),
    "BurstBufferStageIn": ("its files are copied to the burst buffer", "wait", True),
    "Constraints": (
        "nodes with the features that it asks for are down, or used by others",
        "see `sinfo -R`; wait, or submit again with another constraint",
        True,
    ),
    "FedJobLock": ("another cluster of the federation looks at it", "wait", True),
    "FrontEndDown": ("the front end of its nodes is down", "wait, or ask an administrator", True),
    "NvidiaImexChannels": ("it waits for a channel between GPUs of several nodes", "wait", True),
    "PowerNotAvail": ("there is not enough power for its nodes", "wait", True),
    "PowerReserved": ("power for its nodes is kept for other jobs", "wait", True),
}
_NO_REASON = ("Slurm has not considered it yet", "wait", True)
_UNKNOWN = ("an unknown reason", "see `scontrol show job {job}`", True)

_ENDED = (
    "SystemFailure",
    "JobLaunchFailure",
    "NonZeroExitCode",
    "RaisedSignal",
    "TimeLimit",
    "InactiveLimit",
    "OutOfMemory",
)
"""Why a job has ended: of one that waits, its last start."""
_ENDED_BEFORE = ("Slurm has not considered it since its last start ended", "wait", True)

_LIMIT = re.compile(
    r"(?:(QOS|Assoc(?:iation)?)(Max|Min|Grp)?(\w*?)(PerUser|PerAccount|PerJob|PerNode)?(Limit)?"
    r"|Max(\w+)PerAccount)"
)
_WHOSE = {"QOS": "its QOS", "Assoc": "its account", "Association": "its account"}
_WHAT = {
    "runminutes": "time of running jobs",
    "minutes": "time",
    "cpu": "cores",
    "gres": "GPUs",
    "mem": "memory",
    "node": "nodes",
    "submit": "jobs in the queue",
    "job": "running jobs",
    "wall": "time",
    "billing": "billing units",
    "license": "licenses",
    "energy": "energy",
    "time": "time",
}


def is_limit(word: str | None) -> bool:
    """Return whether a reason is a limit of a QOS or an account."""
    return _limit(_stem(_key(word))) is not None


def pending_reason(word: str | None, job_id: str, exceeded: Sequence[str] = ()) -> PendingReason:
    """Return what a reason means; never fails, since each version of Slurm adds further ones.

    Args:
        word: As `squeue` prints it, spaces or underscores alike; None if it gives none.
        exceeded: What the job asks for too much of to start ever, and whose limit that is.
    """
    key = _key(word)
    stem = _stem(key)
    known = _REASONS.get(key) or _REASONS.get(stem) or _held(key)
    known = known or (_ENDED_BEFORE if stem in _ENDED else _limit(stem))
    meaning, advice, ends = known or (_UNKNOWN if key else _NO_REASON)
    if exceeded:
        meaning, ends = f"it can never start: {'; '.join(exceeded)}", False
        advice = _RESUBMIT.format(less="the same command: jobs are cut to the limit")
    return PendingReason(
        word=word or "", meaning=meaning, advice=advice.format(job=job_id), ends_by_itself=ends
    )


def _key(word: str | None) -> str:
    return (word or "").strip("()").replace("_", " ")


def _stem(key: str) -> str:
    """Return a reason without its details, as in `ReqNodeNotAvail, UnavailableNodes:n1`."""
    return re.split("[,(]", key)[0].strip()


def _held(key: str) -> tuple[str, str, bool] | None:
    return _REASONS["launch failed requeued held"] if key.endswith("requeued held") else None


def _limit(word: str) -> tuple[str, str, bool] | None:
    """Explain limits by their parts: QOSMaxJobsPerUserLimit, AssocGrpCpuLimit; None for others."""
    match = _LIMIT.fullmatch(word)
    if match is None or not (match[2] or match[5] or match[6]):
        return None
    if match[6]:
        return (f"its QOS gives its account no more {_what(match[6])} for now", _OTHERS_END, True)
    whose, kind, subject, scope = _WHOSE[match[1]], match[2], match[3].lower(), match[4]
    what = _what(subject)
    if kind == "Min":
        return (
            f"it asks for fewer {what} than {whose} allows",
            _RESUBMIT.format(less="more"),
            False,
        )
    if scope in ("PerJob", "PerNode") or (what == "time" and kind == "Max"):
        return (
            f"it asks for more {what} than {whose} gives to a job",
            _RESUBMIT.format(less="less"),
            False,
        )
    if what == "time":
        return (
            f"{whose} has used up the time that it was given",
            "ask an administrator when there is more, or " + _RESUBMIT.format(less=_ANOTHER),
            False,
        )
    among = "all its users together" if kind == "Grp" else "you"
    return (f"{whose} gives {among} no more {what} for now", _OTHERS_END, True)


def _what(subject: str) -> str:
    """Return what a limit counts in plain words, such as `GPUs` for `GRES`."""
    subject = subject.lower()
    return next((plain for part, plain in _WHAT.items() if part in subject), "what it counts")
