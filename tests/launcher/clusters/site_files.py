"""Sites as Slurm describes them: what its commands print, in `sites/*.txt`."""

import re
from pathlib import Path

from launcher.slurm.access import SlurmUser
from launcher.slurm.parse_accounting import ACCOUNT_COLUMNS, ASSOCIATION_COLUMNS, QOS_COLUMNS
from launcher.slurm.parse_site import parse_site

SITES = Path(__file__).parent / "sites"
_COLUMNS = {
    "qos": QOS_COLUMNS,
    "associations": ASSOCIATION_COLUMNS,
    "accounts": ACCOUNT_COLUMNS,
}
USER = SlurmUser(name="ada", groups=frozenset({"users", "lab"}), host="login1")


def read_site(name, user=USER):
    """A site, as its user sees it; tables have the columns that matter, in any order."""
    _, *parts = re.split(r"^== (\w+)\n", (SITES / f"{name}.txt").read_text(), flags=re.MULTILINE)
    said = dict(zip(parts[::2], parts[1::2], strict=True))
    for part, columns in _COLUMNS.items():
        if part in said:
            said[part] = _full_table(said[part], columns)
    names = {"qos": "qoses"}
    return parse_site(**{names.get(part, part): text for part, text in said.items()}, user=user)


def _full_table(text, columns):
    header, *rows = (line.split("|") for line in text.splitlines())
    assert set(header) <= set(columns)
    cells = [dict(zip(header, row, strict=True)) for row in rows]
    return "".join("|".join(row.get(name, "") for name in columns) + "\n" for row in cells)
