"""Limits on the length of modules and functions, and unique module names."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import mammoseg

SOURCE = Path(mammoseg.__file__).parent
MAX_MODULE_LINES, MAX_FUNCTION_LINES = 300, 40
# A loss and a metric module; the writer and the reader of a format.
SHARED_NAMES = {"pixel.py", "cbis_ddsm.py", "dicom.py"}


def test_modules_have_at_most_300_lines() -> None:
    files = [path for suffix in ("py", "js", "html", "css") for path in SOURCE.rglob(f"*.{suffix}")]
    assert len(files) > 100
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path.name: length for path, length in lengths.items() if length > MAX_MODULE_LINES} == {}


def test_functions_have_at_most_40_lines() -> None:
    too_long = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                length = node.end_lineno - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    too_long[f"{path.name}:{node.name}"] = length
    assert too_long == {}


def test_module_names_are_unique() -> None:
    names = Counter(path.name for path in SOURCE.rglob("*.py") if not path.name.startswith("__"))
    assert {name for name, count in names.items() if count > 1} <= SHARED_NAMES
