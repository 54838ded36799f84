"""What was noted is there after any end, and noting is as quick at the end as at the beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from mammoseg.predict.journal import Journal


def entries(path: Path) -> dict[str, object]:
    with Journal(path) as journal:
        return journal.entries


def test_entries_come_back_and_the_later_one_counts(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        journal.add("a", {"rows": [1, "ä", "\udcff"]})
        journal.add("b", 2)
        journal.add("a", 3)
        assert journal.entries == {"a": 3, "b": 2}
    assert entries(tmp_path / "journal") == {"a": 3, "b": 2}
    assert (tmp_path / "journal").read_bytes().count(b"\n") == 2, "what is outdated goes when it is opened"


def test_cut_anywhere_all_lines_before_are_there(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        for number in range(3):
            journal.add(f"key{number}", {"value": number})
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        complete = whole[:length].count(b"\n")
        # A line that lacks nothing but its end is a whole one.
        complete += whole[length : length + 1] == b"\n"
        assert list(entries(path)) == [f"key{number}" for number in range(complete)], length
        with Journal(path) as journal:
            journal.add("more", 1)
        assert entries(path)["more"] == 1, "nothing is glued to half a line"


def test_an_error_within_leaves_what_was_noted(tmp_path: Path) -> None:
    def fail() -> None:
        with Journal(tmp_path / "journal") as journal:
            journal.add("a", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert entries(tmp_path / "journal") == {"a": 1}
