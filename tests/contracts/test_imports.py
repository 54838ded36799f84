"""Contract: the packages of the commands never import each other, and no two packages import each other."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src" / "mammoseg"
COMMANDS = {path.parent.name for path in SRC.glob("*/__main__.py")}


def imports(path: Path) -> Iterator[str]:
    """Top-level names in mammoseg that a module imports, lazily or not, except for type checking."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name.split(".")[1] for name in names if name.startswith("mammoseg."))


def arrows() -> dict[str, set[str]]:
    """package or module -> the packages and modules that it imports."""
    units = {path.stem if path.is_file() else path.name for path in SRC.iterdir() if path.name != "__pycache__"}
    found: dict[str, set[str]] = defaultdict(set)
    for path in SRC.rglob("*.py"):
        unit = path.relative_to(SRC).parts[0].removesuffix(".py")
        found[unit] |= {name for name in imports(path) if name in units and name != unit}
    return found


def test_commands_do_not_import_each_other() -> None:
    found = arrows()
    assert len(COMMANDS) >= 10
    assert {(one, other) for one in COMMANDS for other in found[one] & COMMANDS} == set()


def test_there_are_no_import_cycles_between_packages() -> None:
    found = arrows()
    reached = {unit: set(others) for unit, others in found.items()}
    for _ in found:
        for others in reached.values():
            others |= {further for other in tuple(others) for further in reached.get(other, ())}
    assert sorted(unit for unit, others in reached.items() if unit in others) == []
