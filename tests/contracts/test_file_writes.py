"""Contract: everything a command writes goes through `mammoseg.files`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "mammoseg"
WRITERS = {"write_text", "write_bytes", "to_csv", "imwrite", "savefig", "tofile", "copyfile", "copy2", "save_as"}
# (module, call) -> reason for writing without `atomic_write`
ALLOWED = {
    ("files.py", "replace"): "implements atomic writes",
    ("reports/plotting.py", "savefig"): "writes into the file of atomic_write",
    ("data/store.py", "open('wb')"): "streams large arrays into the temporary folder of atomic_dir",
    ("predict/journal.py", "open('a')"): "appends one line per image; a truncated last line is dropped on reading",
    ("phantom/dicom.py", "save_as"): "inside the temporary folder of atomic_dir",
    ("predict/dicom_source.py", "save_as"): "into memory",
    ("prepare/http_files.py", "open('ab')"): "appends to the beginning of an interrupted download",
    ("prepare/http_files.py", "replace"): "renames a complete download",
    ("loggers/csv_history.py", "open('a')"): "appends rows; a truncated last line is dropped on reading",
}


def file_writing_calls(source: str) -> Iterator[str]:
    """Yield the calls that write a file under its final name, such as `write_text`, `open('w')` and `os.replace`."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in WRITERS:
            yield name
        # os.replace and Path.replace; str.replace has two arguments.
        is_os_call = ast.unparse(node.func).startswith("os.")
        if name in ("replace", "rename") and (is_os_call or (len(node.args) == 1 and not node.keywords)):
            yield name
        if name == "open":
            values = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
            modes = [
                value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)
            ]
            yield from (f"open({mode!r})" for mode in modes if mode[:1] in tuple("wax") and len(mode) <= 3)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("path.write_text('x')", ["write_text"]),
        ("with path.open('w', newline='') as file: pass", ["open('w')"]),
        ("open(path, mode='wb')", ["open('wb')"]),
        ("os.replace(a, b)", ["replace"]),
        ("path.replace(target)", ["replace"]),
        ("frame.to_csv(path)", ["to_csv"]),
        ("path.open(newline=''); path.open('rb'); text.replace('a', 'b'); webbrowser.open(page)", []),
    ],
)
def test_writes_yields_calls_that_write_files(source: str, expected: list[str]) -> None:
    assert list(file_writing_calls(source)) == expected


def test_all_writes_use_atomic_write() -> None:
    calls = {
        (path.relative_to(SRC).as_posix(), call)
        for path in SRC.rglob("*.py")
        for call in file_writing_calls(path.read_text())
    }
    assert calls - ALLOWED.keys() == set(), "use mammoseg.files.atomic_write"
    assert ALLOWED.keys() - calls == set(), "entries of ALLOWED that no longer apply"
