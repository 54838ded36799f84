"""Directory traversal: order, links, depth, hidden entries, permissions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mammoseg.data.readers.file_tree import require_folder, walk
from mammoseg.errors import UserError


def make_files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def walked_files(root: Path, **options: Any) -> list[str]:
    return [(folder / name).relative_to(root).as_posix() for folder, names in walk(root, **options) for name in names]


def test_walk_is_sorted_and_skips_hidden_entries(tmp_path: Path) -> None:
    make_files(tmp_path, "b/y", "b/x", "a/z", "top", ".hidden", "~$open.xls", "._copy", ".git/x", "__MACOSX/a/z")
    assert walked_files(tmp_path) == ["top", "a/z", "b/x", "b/y"]


def test_walk_visits_each_folder_once_through_links_and_loops(tmp_path: Path) -> None:
    make_files(tmp_path, "real/a", "elsewhere/b")
    (tmp_path / "root").mkdir()
    for name, target in (("link1", "real"), ("link2", "real"), ("link3", "elsewhere"), ("loop", "root")):
        (tmp_path / "root" / name).symlink_to(tmp_path / target, target_is_directory=True)
    assert walked_files(tmp_path / "root") == ["link1/a", "link3/b"]


@pytest.mark.parametrize(("max_depth", "expected"), [(0, ["0"]), (1, ["0", "a/1"]), (None, ["0", "a/1", "a/b/2"])])
def test_walk_stops_at_the_maximum_depth(tmp_path: Path, max_depth: int | None, expected: list[str]) -> None:
    make_files(tmp_path, "0", "a/1", "a/b/2")
    assert walked_files(tmp_path, max_depth=max_depth) == expected


def test_walk_skips_subfolders_of_a_skipped_folder(tmp_path: Path) -> None:
    make_files(tmp_path, "kept/a", "marked/.marker", "marked/below/b")
    assert walked_files(tmp_path, skip_folder=lambda _, names: ".marker" in names) == ["kept/a"]


def test_walk_raises_for_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_files(tmp_path, "closed/a")

    def scandir(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return os_scandir(path)

    os_scandir = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)  # permissions do not restrict the superuser
    with pytest.raises(UserError, match=r"closed: cannot be listed \(Permission denied\)"):
        walked_files(tmp_path)


def test_require_folder_raises_for_files_and_missing_folders(tmp_path: Path) -> None:
    make_files(tmp_path, "archive.zip")
    require_folder(tmp_path, "")
    with pytest.raises(UserError, match=r"archive\.zip: a file, not a folder.*; get it there"):
        require_folder(tmp_path / "archive.zip", "get it there")
    with pytest.raises(UserError, match="no such folder; get it there"):
        require_folder(tmp_path / "absent", "get it there")
