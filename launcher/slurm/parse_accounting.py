"""Parse what `sacctmgr` prints about QOS and accounts."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.slurm.parsing import NOTHING, read_number, read_seconds, read_table
from launcher.slurm.site import SlurmAccount, SlurmAssociation, SlurmQos
from launcher.slurm.tres import Tres, read_tres

QOS_COLUMNS = (
    "Name",
    "GraceTime",
    "Preempt",
    "PreemptMode",
    "Flags",
    "MaxWall",
    "MaxSubmitJobsPerUser",
    "MaxTRESPerJob",
    "MaxTRESPerNode",
    "MaxTRESPerUser",
    "MaxTRESPerAccount",
    "GrpTRES",
    "MinTRESPerJob",
)
"""Fields of `sacctmgr show qos`."""

ASSOCIATION_COLUMNS = (
    "Account",
    "Partition",
    "QOS",
    "DefaultQOS",
    "MaxWall",
    "MaxSubmitJobs",
    "MaxTRESPerJob",
    "MaxTRESPerNode",
    "GrpTRES",
)
"""Fields of `sacctmgr show assoc` for the user. Of what is not set for the user, `Max…` are those
of the accounts above."""

ACCOUNT_COLUMNS = ("Account", "User", "ParentName", "GrpTRES")
"""Fields of `sacctmgr show assoc` for accounts."""


def parse_qoses(text: str, *, enforced: bool) -> tuple[SlurmQos, ...]:
    """Parse `sacctmgr show qos` with `QOS_COLUMNS`; without limits if they are not enforced."""
    return tuple(_qos(row, enforced) for row in read_table(text, QOS_COLUMNS))


def parse_associations(text: str, *, enforced: bool) -> tuple[SlurmAssociation, ...]:
    """Parse `sacctmgr show assoc` with `ASSOCIATION_COLUMNS`, likewise."""
    return tuple(_association(row, enforced) for row in read_table(text, ASSOCIATION_COLUMNS))


def parse_accounts(text: str, *, enforced: bool) -> tuple[SlurmAccount, ...]:
    """Parse `sacctmgr show assoc` with `ACCOUNT_COLUMNS`, likewise; rows of users are left out."""
    return tuple(
        SlurmAccount(
            name=row["Account"],
            parent=_value(row["ParentName"]),
            tres=_tres(row, ("GrpTRES",)) if enforced else {},
        )
        for row in read_table(text, ACCOUNT_COLUMNS)
        if not row["User"]
    )


def _qos(row: Mapping[str, str], enforced: bool) -> SlurmQos:
    names = tuple(name for name in QOS_COLUMNS if "TRES" in name)
    return SlurmQos(
        name=row["Name"],
        grace_s=read_seconds(row["GraceTime"]) or 0,
        preempts=tuple(filter(None, row["Preempt"].split(","))),
        preempt_mode=row["PreemptMode"],
        flags=frozenset(filter(None, row["Flags"].split(","))),
        max_time_s=read_seconds(row["MaxWall"]) if enforced else None,
        max_submit_jobs=read_number(row["MaxSubmitJobsPerUser"]) if enforced else None,
        tres=_tres(row, names) if enforced else {},
    )


def _association(row: Mapping[str, str], enforced: bool) -> SlurmAssociation:
    return SlurmAssociation(
        account=row["Account"],
        partition=_value(row["Partition"]),
        qos=tuple(filter(None, row["QOS"].split(","))),
        default_qos=_value(row["DefaultQOS"]),
        max_time_s=read_seconds(row["MaxWall"]) if enforced else None,
        max_submit_jobs=read_number(row["MaxSubmitJobs"]) if enforced else None,
        tres=_tres(row, ("MaxTRESPerJob", "MaxTRESPerNode", "GrpTRES")) if enforced else {},
    )


def _tres(row: Mapping[str, str], names: tuple[str, ...]) -> dict[str, Tres]:
    return {name: read_tres(row[name]) for name in names if row[name]}


def _value(text: str) -> str | None:
    return None if text in NOTHING else text
