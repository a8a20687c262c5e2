"""docs/configuration.md."""

import subprocess

from scripts.workloads.checkout import ROOT

COMMAND = ROOT / "scripts" / "document-configuration"


def test_the_page_is_current() -> None:
    """It says what the config classes say; if not, run scripts/document-configuration."""
    done = subprocess.run([COMMAND, "--check"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_every_key_has_a_meaning() -> None:
    """No row of a table ends with an empty cell."""
    lines = (ROOT / "docs" / "configuration.md").read_text().splitlines()
    keys = [line for line in lines if line.startswith("| `")]

    assert len(keys) > 100
    assert [line.split("|")[1].strip() for line in keys if line.endswith("|  |")] == []
