"""Lookup of the prepared images of a run: the preprocessing and the images have to agree, not only the masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from viewer_files import write_synthetic_run, write_synthetic_store

from mammoseg.runs.checked_results import read_rows
from mammoseg.runs.stores import find_store

CASES = ["a", "b", "c"]
ABOUT: list[dict[str, Any]] = [{"flip": "none"}, {"flip": "left"}, {"flip": "none", "crop": True}]


@pytest.mark.parametrize(("flip", "cases", "expected"), [("left", (), "phantom-1"), ("none", ("d",), "phantom-2")])
def test_the_preprocessing_and_all_images_of_the_run_are_required(
    flip: str, cases: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    """All stores have the same masks of the test images, but only the last one has another image."""
    for index, about in enumerate(ABOUT):
        folder = tmp_path / f"phantom-{index}"
        truths = write_synthetic_store(folder, CASES if index < 2 else [*CASES, "d"])[: len(CASES)]
        (folder / "about.json").write_text(json.dumps({"skipped": [], **about}))
    rows = read_rows(write_synthetic_run(tmp_path / "run", CASES, truths, seed=1).folder / "results.csv")
    found = find_store([tmp_path], "phantom", rows, {"flip": flip, "crop": "breast"}, cases)
    assert found is not None
    assert found.folder.name == expected
    assert find_store([tmp_path], "phantom", rows, {"flip": "right"}) is None
    assert find_store([tmp_path], "phantom", rows) is not None, "the settings of the run are unknown"
