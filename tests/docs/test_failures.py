"""Each failure in docs/failures.md has a class, and a test or a script that injects it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "failures.md"
COLUMNS = ["failure", "class", "what the user sees", "test"]
CLASSES = {"wrong", "moment", "node", "run", "outside"}


def rows() -> list[list[str]]:
    """The cells of each row of the tables of failures."""
    found: list[list[str]] = []
    is_in_table = False
    for line in PAGE.read_text().splitlines():
        cells = [each.strip() for each in line.strip("|").split(" | ")]
        if cells == COLUMNS:
            is_in_table = True
        elif not line.startswith("|"):
            is_in_table = False
        elif is_in_table and not line.startswith("| ---"):
            found.append(cells)
    return found


ROWS = rows()
PROOFS = sorted({each for row in ROWS for each in re.findall(r"`([^`]+)`", row[-1])})


@pytest.mark.parametrize("cells", ROWS, ids=[row[0] for row in ROWS])
def test_each_failure_has_a_class_and_a_proof(cells: list[str]) -> None:
    """And a sentence for the user; no cell is empty."""
    failure, kind, seen, proof = cells
    assert failure
    assert kind in CLASSES
    assert seen
    assert "::" in proof


@pytest.mark.parametrize("proof", PROOFS)
def test_what_is_said_to_inject_a_failure_exists(proof: str) -> None:
    """`path::function`; `path::word` for a kind of fault, or an option, of a script."""
    path, _, name = proof.partition("::")
    file = ROOT / path
    if path.startswith("tests/"):
        functions = ast.walk(ast.parse(file.read_text()))
        assert name in {each.name for each in functions if isinstance(each, ast.FunctionDef)}
    else:
        parts = file.with_name(file.name.replace("-", "_")).glob("*.py")
        text = "".join(each.read_text() for each in (file, *parts))
        assert re.search(rf'def {name}\(|"{name}"|"--{name}"', text)
