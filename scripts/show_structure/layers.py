"""Which folders may import which."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from scripts.show_structure.imports import Import


@frozen
class Order:
    """Layers of modules and folders, the highest first."""

    layers: tuple[tuple[str, ...], ...]

    def runs_up(self, each: Import) -> bool:
        """Whether both have a place in it, and the lower one imports the higher one."""
        source, target = self._place(each.source), self._place(each.target)
        return source is not None and target is not None and source > target

    def _place(self, module: str) -> int | None:
        while module:
            for number, layer in enumerate(self.layers):
                if module in layer:
                    return number
            module = module.rpartition(".")[0]
        return None


def orders_of_checkout(root: Path) -> list[Order]:
    """Those of import-linter's layers contracts."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]
    return [
        Order(_layers(contract["layers"], f"{container}." if container else ""))
        for contract in settings["contracts"]
        if contract["type"] == "layers"
        for container in contract.get("containers", [""])
    ]


def orders_of_file(path: Path) -> list[Order]:
    """A line for each layer, an order for each block of lines; `#` begins a comment."""
    text = re.sub(r" *#.*", "", path.read_text())
    blocks = [block.splitlines() for block in re.split(r"\n\s*\n", text.strip())]
    return [Order(_layers(block, "")) for block in blocks]


def running_up(imports: Iterable[Import], orders: Iterable[Order]) -> list[Import]:
    chosen = list(orders)
    return [each for each in imports if any(order.runs_up(each) for order in chosen)]


def _layers(texts: Iterable[str], prefix: str) -> tuple[tuple[str, ...], ...]:
    """`a | b`, `a : b`, `(a)` and `a b` all name what lies on one level."""
    return tuple(tuple(f"{prefix}{name}" for name in re.findall(r"[\w.]+", text)) for text in texts)
