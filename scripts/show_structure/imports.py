"""Who imports whom."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from attrs import frozen

from scripts.show_structure.modules import Module

When = Literal["at once", "later"]
"""As the module is imported, or within a function."""
Graph = Mapping[str, set[str]]


@frozen
class Import:
    source: str
    target: str
    when: When

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


def imports_of(modules: Mapping[str, Module]) -> list[Import]:
    """Each pair of modules once for each `when`; imports for type checkers only do not count."""
    found = {
        Import(module.name, target, when): None
        for module in modules.values()
        for target, when in _targets(module, modules)
        if target != module.name
    }
    return list(found)


def _targets(module: Module, modules: Mapping[str, Module]) -> Iterator[tuple[str, When]]:
    for node, when in _statements(module.tree, "at once"):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            parts = module.folder.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{origin}.{alias.name}" for alias in node.names]
        for name in names:
            if target := _longest_module(name, modules):
                yield target, when


def _longest_module(name: str, modules: Mapping[str, Module]) -> str | None:
    """What of the name is a module; the rest of it is something in there."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def _statements(node: ast.AST, when: When) -> Iterator[tuple[ast.Import | ast.ImportFrom, When]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, when
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for each in child.orelse:
                yield from _statements(ast.Module([each], []), when)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _statements(child, "later")
        else:
            yield from _statements(child, when)


def graph_of(imports: Iterable[Import]) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {}
    for each in imports:
        graph.setdefault(each.source, set()).add(each.target)
        graph.setdefault(each.target, set())
    return graph


def folder_graph(graph: Graph) -> dict[str, set[str]]:
    """Of the folders of each package, with all that is in them; a loose module is by itself."""
    folders: dict[str, set[str]] = {}
    for source, targets in graph.items():
        others = set(map(_folder_of, targets)) - {_folder_of(source)}
        folders.setdefault(_folder_of(source), set()).update(others)
    return folders


def _folder_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def circles(graph: Graph) -> list[list[str]]:
    """The sets of nodes that all reach each other, of two or more; the largest first."""
    reached = {node: _reachable(node, graph) for node in graph}
    found = {
        frozenset(other for other in reached[node] if node in reached[other]) for node in graph
    }
    return sorted((sorted(each) for each in found if len(each) > 1), key=lambda each: -len(each))


def _reachable(start: str, graph: Graph) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph.get(node, ())
    return seen
