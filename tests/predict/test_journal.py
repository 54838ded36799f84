"""The journal keeps all complete entries after errors and truncation."""

from __future__ import annotations

from pathlib import Path

import pytest

from mammoseg.predict.journal import Journal


def entries(path: Path) -> dict[str, object]:
    with Journal(path) as journal:
        return journal.entries


def test_the_latest_entry_of_each_key_is_read_back(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        journal.add("a", {"rows": [1, "ä", "\udcff"]})
        journal.add("b", 2)
        journal.add("a", 3)
        assert journal.entries == {"a": 3, "b": 2}
    assert entries(tmp_path / "journal") == {"a": 3, "b": 2}
    assert (tmp_path / "journal").read_bytes().count(b"\n") == 2, "opening compacts the file"


def test_all_complete_lines_of_a_truncated_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        for index in range(3):
            journal.add(f"key{index}", {"value": index})
    content = path.read_bytes()
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        complete = content[:length].count(b"\n")
        # A line without its line break is complete.
        complete += content[length : length + 1] == b"\n"
        assert list(entries(path)) == [f"key{index}" for index in range(complete)], length
        with Journal(path) as journal:
            journal.add("added", 1)
        assert entries(path)["added"] == 1, "it was appended to a truncated line"


def test_entries_before_an_error_are_kept(tmp_path: Path) -> None:
    def fail() -> None:
        with Journal(tmp_path / "journal") as journal:
            journal.add("a", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert entries(tmp_path / "journal") == {"a": 1}
