"""Imports between packages have no cycles, and command packages do not import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import mammoseg

SOURCE = Path(mammoseg.__file__).parent
# models contains the networks; as a command, it lists the pretrained models.
COMMANDS = {path.parent.name for path in SOURCE.glob("*/__main__.py")} - {"models"}


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the modules of mammoseg that a file imports at run time, as dotted names relative to the package."""
    for node in runtime_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            relative = name.removeprefix("mammoseg.")
            if relative != name and module_file(relative) is not None:
                yield relative


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes of the tree except those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from runtime_nodes(child)


def module_file(name: str) -> Path | None:
    path = SOURCE.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def graph_node(module: str) -> str:
    """Return the package of a module, or the module itself at the top level."""
    return module.partition(".")[0]


def import_graph() -> dict[str, set[str]]:
    edges: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        imported = edges.setdefault(graph_node(module), set())
        imported |= {graph_node(name) for name in imported_modules(path)} - {graph_node(module)}
    return edges


def find_cycle(edges: dict[str, set[str]]) -> list[str]:
    """Return the nodes of a cycle, or an empty list."""
    visited: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in visited:
            return []
        for target in sorted(edges.get(node, ())):
            if found := visit(target, [*path, node]):
                return found
        visited.add(node)
        return []

    return next((found for node in sorted(edges) if (found := visit(node, []))), [])


def test_find_cycle_returns_the_nodes_of_a_cycle() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_packages_have_no_import_cycle() -> None:
    edges = import_graph()
    assert len(edges) > 20
    assert find_cycle(edges) == []


def test_command_packages_do_not_import_each_other() -> None:
    assert {"train", "evaluate", "compare", "predict", "phantom"} <= COMMANDS
    edges = import_graph()
    assert {name: edges[name] & COMMANDS for name in COMMANDS if edges[name] & COMMANDS} == {}


def test_other_packages_do_not_import_commands() -> None:
    users = {
        name: imported & COMMANDS
        for name, imported in import_graph().items()
        if name not in COMMANDS and imported & COMMANDS
    }
    assert users == {}
