"""Packages import each other in one direction, and commands never import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import mammoseg

SOURCE = Path(mammoseg.__file__).parent
COMMANDS = {path.parent.name for path in SOURCE.glob("*/__main__.py")}


def imported_modules(path: Path) -> Iterator[str]:
    """The modules of mammoseg that a file imports when it runs, also inside functions, as dotted names below it."""
    for node in runtime_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            below = name.removeprefix("mammoseg.")
            if below != name and module_file(below) is not None:
                yield below


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Every node of the tree except those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from runtime_nodes(child)


def module_file(name: str) -> Path | None:
    path = SOURCE.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def node_of(module: str) -> str:
    """The package of a module, or the module itself if it is at the top."""
    return module.partition(".")[0]


def graph() -> dict[str, set[str]]:
    edges: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        found = edges.setdefault(node_of(module), set())
        found |= {node_of(name) for name in imported_modules(path)} - {node_of(module)}
    return edges


def cycle(edges: dict[str, set[str]]) -> list[str]:
    """The nodes of a cycle, empty if there is none."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for other in sorted(edges.get(node, ())):
            if found := visit(other, [*path, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(edges) if (found := visit(node, []))), [])


def test_a_cycle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_packages_do_not_import_each_other_in_a_circle() -> None:
    edges = graph()
    assert len(edges) > 20
    assert cycle(edges) == []


def test_commands_do_not_import_each_other() -> None:
    assert {"train", "evaluate", "compare", "predict", "phantom"} <= COMMANDS
    edges = graph()
    assert {name: edges[name] & COMMANDS for name in COMMANDS if edges[name] & COMMANDS} == {}


def test_nothing_else_imports_a_command() -> None:
    users = {name: found & COMMANDS for name, found in graph().items() if name not in COMMANDS and found & COMMANDS}
    assert users == {}
