"""Contract: text files are UTF-8 in every locale, so each call that opens one names the encoding."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
# Methods `open` of other classes, whose first argument is not a mode.
OTHER_OPEN = (
    "gzip.open",
    "Image.open",
    "PreparedStore.open",
    "archive.open",
    "builder.open",
    "os.open",
    "webbrowser.open",
)


def calls_without_encoding(source: str) -> Iterator[int]:
    """Yield the lines of calls that open a text file without an encoding."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or any(keyword.arg in ("encoding", None) for keyword in node.keywords):
            continue
        function = ast.unparse(node.func)
        name = function.rpartition(".")[2]
        if name in ("read_text", "write_text"):
            yield node.lineno
        if name == "open" and not function.endswith(OTHER_OPEN):
            position = 1 if function == "open" else 0
            modes = [*node.args[position : position + 1], *(k.value for k in node.keywords if k.arg == "mode")]
            mode = modes[0].value if modes and isinstance(modes[0], ast.Constant) else "r"
            if "b" not in str(mode):
                yield node.lineno


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("path.read_text()", True),
        ("path.open(newline='')", True),
        ("open(path, 'a')", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.open('rb')", False),
        ("temporary.open(mode, **text)", False),
    ],
)
def test_calls_are_recognised(source: str, found: bool) -> None:
    assert bool([*calls_without_encoding(source)]) == found


def test_all_calls_name_an_encoding() -> None:
    calls = [
        f"{path.relative_to(SRC)}:{line}"
        for path in sorted(SRC.rglob("*.py"))
        for line in calls_without_encoding(path.read_text(encoding="utf-8"))
    ]
    assert calls == []
