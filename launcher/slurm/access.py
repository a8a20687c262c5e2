"""Who may use a partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from launcher.slurm.parsing import expand_hosts


@frozen(kw_only=True)
class SlurmUser:
    """The user as Slurm sees them."""

    name: str
    groups: frozenset[str]
    is_root: bool = False
    host: str = ""
    """The machine that jobs are submitted from."""


@frozen
class Refusal:
    """Why a partition takes no such job."""

    reason: str
    """Words that follow the name of the partition, such as `takes no jobs of root`."""
    is_certain: bool = True
    """Slurm decides alone about groups and machines: here they may be called otherwise."""


@frozen(kw_only=True)
class Access:
    """The rules of a partition; None: all are allowed."""

    groups: frozenset[str] | None = None
    accounts: frozenset[str] | None = None
    denied_accounts: frozenset[str] = frozenset()
    qoses: frozenset[str] | None = None
    denied_qoses: frozenset[str] = frozenset()
    hosts: frozenset[str] | None = None
    root_only: bool = False
    refuses_root: bool = False
    needs_reservation: bool = False

    def refusals(
        self,
        *,
        user: SlurmUser | None,
        accounts: tuple[str, ...],
        qos: str | None,
        has_reservation: bool,
    ) -> Iterator[Refusal]:
        """Yield why a job is refused, what is certain first.

        Args:
            user: None: unknown, and so are their groups and their machine.
            accounts: The account of the job, and those above it that its rules hold for; empty:
                unknown.
            qos: None: unknown.
        """
        account = accounts[0] if accounts else None
        if account and self.accounts is not None and self.accounts.isdisjoint(accounts):
            allowed = _listed("account", self.accounts)
            yield Refusal(f"takes jobs of {allowed} only, and this account is {account}")
        if account and self.accounts is None and not self.denied_accounts.isdisjoint(accounts):
            yield Refusal(f"takes no jobs of {_listed('account', self.denied_accounts)}")
        if qos and self.qoses is not None and qos not in self.qoses:
            yield Refusal(f"takes jobs of QOS {_names_of(self.qoses)} only, and this one is {qos}")
        if qos and self.qoses is None and qos in self.denied_qoses:
            yield Refusal(f"takes no jobs of QOS {_names_of(self.denied_qoses)}")
        if self.needs_reservation and not has_reservation:
            yield Refusal("takes jobs in a reservation only (--reservation)")
        if user is None:
            return
        if self.root_only and not user.is_root:
            yield Refusal("takes jobs of root only")
        if self.refuses_root and user.is_root:
            yield Refusal("takes no jobs of root")
        if self.groups is not None and not user.is_root and self.groups.isdisjoint(user.groups):
            yield Refusal(f"is for members of {_listed('group', self.groups)} only", False)
        if self.hosts is not None and user.host and user.host not in self.hosts:
            hosts = _names_of(self.hosts)
            yield Refusal(f"takes jobs from {hosts} only, and this machine is {user.host}", False)


def read_access(record: Mapping[str, str]) -> Access:
    """Return the rules in a record of `scontrol show partition`."""
    hosts = record.get("AllocNodes", "ALL")
    return Access(
        groups=_allowed(record.get("AllowGroups")),
        accounts=_allowed(_lower(record.get("AllowAccounts"))),
        denied_accounts=_names(_lower(record.get("DenyAccounts")) or ""),
        qoses=_allowed(_lower(record.get("AllowQos"))),
        denied_qoses=_names(_lower(record.get("DenyQos")) or ""),
        hosts=None if hosts in ("ALL", "") else frozenset(expand_hosts(hosts)),
        root_only=record.get("RootOnly") == "YES",
        refuses_root=record.get("DisableRootJobs") == "YES",
        needs_reservation=record.get("ReqResv") == "YES",
    )


def _allowed(text: str | None) -> frozenset[str] | None:
    return None if text in (None, "", "ALL", "all", "(null)") else _names(text or "")


def _lower(names: str | None) -> str | None:
    """Return names of accounts or QOS as Slurm stores them, however its configuration has them."""
    return names and names.lower()


def _names(text: str) -> frozenset[str]:
    return frozenset(name for name in text.split(",") if name and name != "(null)")


def _names_of(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _listed(noun: str, names: frozenset[str]) -> str:
    return f"{noun if len(names) == 1 else f'{noun}s'} {_names_of(names)}"
