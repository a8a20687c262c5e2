"""What README and the pages of docs/ say about Slurm is so."""

from pathlib import Path

import pytest

from scripts.slurm_sandbox.sandbox import sandbox_of_own
from tests.docs.test_docs import PAGES, ROOT, cluster_commands, run

pytestmark = pytest.mark.slurm


def test_commands_on_slurm_work_and_placements_are_as_shown(tmp_path: Path) -> None:
    """The commands succeed, and the nodes of the sandbox lead to the placements of the pages."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    placements = []
    with sandbox_of_own() as sandbox:
        for page in PAGES:
            for command in cluster_commands(page):
                printed = run(command, tmp_path, sandbox.env)
                if "--dry-run" in command:
                    placements.append(printed)
                    assert printed in page.read_text()

    assert placements
