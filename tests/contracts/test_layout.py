"""Modules and functions stay small, and a module's name says where it is."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import mammoseg

SOURCE = Path(mammoseg.__file__).parent
MAX_MODULE_LINES, MAX_FUNCTION_LINES = 300, 40
# Two sides of one thing: loss and metric of pixels, writer and reader of a format.
SHARED_NAMES = {"pixel.py", "cbis_ddsm.py", "dicom.py"}


def test_no_module_is_too_long() -> None:
    files = [path for suffix in ("py", "js", "html", "css") for path in SOURCE.rglob(f"*.{suffix}")]
    assert len(files) > 100
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path.name: length for path, length in lengths.items() if length > MAX_MODULE_LINES} == {}


def test_no_function_is_too_long() -> None:
    found = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                length = node.end_lineno - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    found[f"{path.name}:{node.name}"] = length
    assert found == {}


def test_no_two_modules_share_a_name() -> None:
    names = Counter(path.name for path in SOURCE.rglob("*.py") if not path.name.startswith("__"))
    assert {name for name, number in names.items() if number > 1} <= SHARED_NAMES
