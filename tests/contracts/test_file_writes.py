"""Contract: everything a command writes goes through `mammoseg.files`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src" / "mammoseg"
WRITERS = {"write_text", "write_bytes", "to_csv", "imwrite", "savefig", "tofile", "copyfile", "copy2", "save_as"}
# (module, call) -> why it may write without `atomic_write`
ALLOWED = {
    ("files.py", "os.replace"): "implements atomic writes",
    ("reports/plotting.py", "savefig"): "writes into the file of atomic_write",
    ("data/store.py", "open('wb')"): "streams large arrays into the temporary folder of atomic_dir",
    ("predict/journal.py", "open('a')"): "appends one line per image; a truncated last line is dropped on reading",
    ("phantom/dicom.py", "save_as"): "inside the temporary folder of atomic_dir",
    ("predict/dicom_seg.py", "save_as"): "into memory",
    ("loggers/csv_history.py", "os.replace"): "moves a complete file back after CSVLogger has removed it",
}


def writes(source: str) -> Iterator[str]:
    """Calls that write a file under its final name: `write_text`, `open('w')`, `os.replace` and the like."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in WRITERS:
            yield name
        if name in ("replace", "rename") and ast.unparse(node.func).startswith("os."):
            yield f"os.{name}"
        if name == "open":
            values = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
            modes = [
                value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)
            ]
            yield from (f"open({mode!r})" for mode in modes if mode[:1] in tuple("wax") and len(mode) <= 3)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("path.write_text('x')", ["write_text"]),
        ("with path.open('w', newline='') as file: pass", ["open('w')"]),
        ("open(path, mode='wb')", ["open('wb')"]),
        ("os.replace(a, b)", ["os.replace"]),
        ("frame.to_csv(path)", ["to_csv"]),
        ("path.open(newline=''); path.open('rb'); text.replace('a', 'b'); webbrowser.open(page)", []),
    ],
)
def test_writes_finds_the_calls(source: str, found: list[str]) -> None:
    assert list(writes(source)) == found


def test_nothing_is_written_past_atomic_write() -> None:
    found = {
        (path.relative_to(SRC).as_posix(), call) for path in SRC.rglob("*.py") for call in writes(path.read_text())
    }
    assert found - ALLOWED.keys() == set(), "use mammoseg.files.atomic_write"
    assert ALLOWED.keys() - found == set(), "entries of ALLOWED that no longer apply"
