"""Every public name has a docstring; losses, networks and metrics also have an example."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.utils import get_object

import mammoseg
from mammoseg import losses, metrics
from mammoseg.conf import conf_dir
from mammoseg.metrics import PIXEL_METRICS

SOURCE = Path(mammoseg.__file__).parent
# Methods with these decorators are documented by another definition.
INHERITED = {"overload", "override"}


def undocumented(node: ast.AST, prefix: str = "") -> Iterator[str]:
    """Yield the public classes, functions and methods without a docstring."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or child.name.startswith("_"):
            continue
        decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in child.decorator_list}
        if ast.get_docstring(child) is None and not decorators & INHERITED:
            yield prefix + child.name
        if isinstance(child, ast.ClassDef):
            yield from undocumented(child, f"{prefix}{child.name}.")


def test_undocumented_lists_public_definitions_only() -> None:
    source = """
class A:
    def documented(self): "Text."
    def method(self): ...
    def _private(self): ...
    @override
    def inherited(self): ...
def function():
    def nested(): ...
class _B:
    def method(self): ...
"""
    assert list(undocumented(ast.parse(source))) == ["A", "A.method", "function"]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_public_definitions_have_docstrings(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module has no docstring"
    assert list(undocumented(tree)) == []


def targets(node: Any) -> Iterator[str]:
    """Yield the `_target_` entries of a config at any depth."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from targets(value)


def needs_example(value: object) -> bool:
    """Return whether a name is a function, or a class that is neither abstract nor an exception."""
    if inspect.isclass(value):
        abstract = any(getattr(member, "__isabstractmethod__", False) for member in vars(value).values())
        return not abstract and not issubclass(value, Exception)
    return inspect.isroutine(value)


def names_with_examples() -> list[str]:
    """Return the dotted names of the losses, networks and metrics and of the public API."""
    configs = [path for group in ("loss", "model") for path in (conf_dir() / group).glob("*.yaml")]
    configured = {name for path in configs for name in targets(yaml.safe_load(path.read_text(encoding="utf-8")))}
    registered = {f"{metric.__module__}.{metric.__qualname__}" for metric in PIXEL_METRICS.values()}
    exported = {
        f"{package.__name__}.{name}"
        for package in (mammoseg, losses, metrics)
        for name in package.__all__
        if needs_example(getattr(package, name))
    }
    return sorted(name for name in configured | registered | exported if name.startswith("mammoseg."))


@pytest.mark.parametrize("name", names_with_examples())
def test_losses_networks_and_metrics_have_an_example(name: str) -> None:
    docstring = inspect.getdoc(get_object(name)) or ""
    assert "Example:" in docstring
    assert ">>> " in docstring
