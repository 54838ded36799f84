"""native.csv, candidates.csv and the report on them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.results_files import ROWS
from mammoseg.data.readers.mammogram import Mammogram
from mammoseg.errors import UserError
from mammoseg.evaluate import native_resolution
from mammoseg.evaluate.native_report import plot_froc, write_native_report
from mammoseg.metrics.detection import Candidate, Froc, MatchingRule
from mammoseg.runs import results

NAN = math.nan
NATIVE_COLUMNS: list[dict[str, Any]] = [
    {"spacing_down_mm": 0.07, "spacing_across_mm": 0.07, "unit": "mm", "hd95": 4.0, "asd": 1.0, "masses": 2},
    {"spacing_down_mm": 0.07, "spacing_across_mm": 0.07, "unit": "mm", "hd95": NAN, "asd": NAN, "masses": 1},
    {"spacing_down_mm": "", "spacing_across_mm": "", "unit": "pixels", "hd95": 12.5, "asd": 3.25, "masses": 1},
]
CANDIDATES = {
    "a": [Candidate(1.5, 2.25, 30, 0.9, 0.75, (1,)), Candidate(9, 9, 4, 0.6, 0.55, ())],
    "b": [],
    "c": [Candidate(3, 3, 8, 0.8, 0.7, ()), Candidate(3, 4, 8, 0.7, 0.6, (1,))],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    geometry = {"height": 10, "width": 10, "spacing_from": ""}
    rows = [{**row, **geometry, **columns} for row, columns in zip(ROWS, NATIVE_COLUMNS, strict=True)]
    results.write_results(tmp_path / results.NATIVE_FILE, rows, native_resolution.NATIVE_COLUMNS)
    results.write_table(
        tmp_path / native_resolution.CANDIDATES_FILE,
        native_resolution.candidate_rows(CANDIDATES),
        native_resolution.CANDIDATE_COLUMNS,
    )
    return tmp_path


def test_native_csv_and_candidates_csv_round_trip(folder: Path) -> None:
    rows, candidates = native_resolution.read_native_results(folder)
    assert candidates == CANDIDATES
    assert [row["masses"] for row in rows] == [2, 1, 1]
    np.testing.assert_equal([row["hd95"] for row in rows], [4.0, NAN, 12.5])
    assert rows[0]["dsc"] == ROWS[0]["dsc"]


def test_the_report_lists_distances_by_unit_and_lesion_sensitivity(folder: Path) -> None:
    report = write_native_report(folder, MatchingRule(matching="iou"))
    assert "Distances between predicted and true outlines, in mm:" in report
    assert "| HD95 ↓ | 4.00 | 4.00 | 1 | 1 |" in report
    assert "in pixels (pixel spacing unknown):" in report
    assert "| average surface distance ↓ | 3.25 | 3.25 | 1 | 0 |" in report
    assert "| all, pooled over pixels | 3 | 42.11 |" in report
    assert "its intersection over union with a mass is at least 0.2" in report
    # 4 masses. Without false positives, only the candidate of score 0.9 counts; the false positive of score 0.8, which
    # is 0.33 per image, also admits the candidate of score 0.7.
    assert "| all | 3 | 4 | 25.00 | 50.00 | 50.00 | 50.00 | 50.00 | 50.00 at 0.67 FP |" in report
    assert "| ACR 1 | 2 | 3 | 33.33 | 33.33 | 33.33 | 33.33 | 33.33 | 33.33 at 0.50 FP |" in report
    assert "| ACR 2 | 0 | 0 | – | – | – | – | – | – |" in report
    assert (folder / "froc.png").stat().st_size > 5000


def test_a_missing_mask_file_is_reported(tmp_path: Path) -> None:
    mammogram = Mammogram("a", tmp_path / "a.png", "p", mask_candidates=((tmp_path / "mask.png",),))
    with pytest.raises(UserError, match=r"a: the masses can no longer be read: its mask mask.png: no such file"):
        native_resolution.full_resolution_mask("a", mammogram, (9, 9))


def test_normal_images_have_no_froc_curve(folder: Path) -> None:
    rows, _ = native_resolution.read_native_results(folder)
    write_native_report(folder, MatchingRule())
    assert (folder / "froc.png").is_file()
    (folder / "froc.png").unlink()
    normals = [{**row, "masses": 0} for row in rows]
    results.write_results(folder / results.NATIVE_FILE, normals, native_resolution.NATIVE_COLUMNS)
    assert "| all | 3 | 0 | – |" in write_native_report(folder, MatchingRule())
    assert not (folder / "froc.png").exists()


def test_the_figure_names_the_images_on_which_false_positives_are_counted() -> None:
    """A group without such images has no rate of false positives, and therefore no curve."""
    with_mass: tuple[list[Candidate], int] = ([Candidate(3, 3, 8, 0.8, 0.7, (1,))], 1)
    without: tuple[list[Candidate], int] = ([], 0)
    groups = {"all": [with_mass, without], "ACR 1": [with_mass], "ACR 2": [without]}
    for fp_on_negatives, label, drawn in (
        (True, "false positives per image without a mass", ["all (1 masses)"]),
        (False, "false positives per image", ["all (1 masses)", "ACR 1 (1 masses)"]),
    ):
        curves = {name: Froc.from_detections(group, fp_on_negatives) for name, group in groups.items()}
        (axis,) = plot_froc(curves, fp_on_negatives).axes
        assert axis.get_xlabel() == label
        assert axis.get_legend_handles_labels()[1] == drawn
