"""results.csv, and the metrics and the summary table computed from it."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from helpers.results_files import ROWS, row
from mammoseg.reports import run_summary as tables
from mammoseg.runs import results


def test_pooled_metrics_sum_the_counts_before_dividing() -> None:
    # tp 40, fp 40, fn 70, tn 150
    assert results.pooled_metrics(ROWS) == pytest.approx(
        {"dsc": 80 / 190, "area_difference": 30 / 110, "sensitivity": 40 / 110, "accuracy": 190 / 300}
    )


def test_mean_image_metrics_average_the_values_of_the_images() -> None:
    assert results.mean_image_metrics(ROWS)["dsc"] == pytest.approx((60 / 90 + 0 + 20 / 50) / 3)


def test_undefined_metrics_are_nan() -> None:
    without_mass = row("x", 2, [0, 5, 0, 5])
    assert math.isnan(without_mass["sensitivity"])
    assert math.isnan(without_mass["area_difference"])
    assert math.isnan(results.mean_image_metrics([without_mass])["sensitivity"])


@pytest.mark.parametrize("fp", [0, 5])
def test_an_image_without_a_mass_has_no_dsc_in_the_table_but_an_accuracy(fp: int, tmp_path: Path) -> None:
    results.write_results(tmp_path / "results.csv", [row("x", 2, [0, fp, 0, 10 - fp])])
    with (tmp_path / "results.csv").open() as lines:
        (written,) = csv.DictReader(lines)
    assert [written[key] for key in ("dsc", "area_difference", "sensitivity")] == ["nan", "nan", "nan"]
    assert float(written["accuracy"]) == 1 - fp / 10


def test_write_and_read_results_round_trip(tmp_path: Path) -> None:
    results.write_results(tmp_path / "results.csv", ROWS)
    names = ("case", "density", *results.COUNTS, "dsc")
    rows = results.read_results(tmp_path / "results.csv")
    assert [[row[name] for name in names] for row in rows] == [[row[name] for name in names] for row in ROWS]
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_markdown_table_displays_percent_and_a_dash_for_undefined_values() -> None:
    lines = tables.summary_markdown(ROWS).splitlines()
    assert lines[2] == "| all, pooled over pixels | 3 | 42.11 | 27.27 | 36.36 | 63.33 |"
    assert lines[4] == "| ACR 1, pooled | 2 | 42.86 | 60.00 | 30.00 | 60.00 |"
    assert lines[5] == "| ACR 2, pooled | 0 | – | – | – | – |"
