"""results.csv and the tables that follow from it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from helpers.results_files import ROWS, row
from mammoseg.reports import run_summary as tables
from mammoseg.runs import results


def test_pooling_sums_before_it_divides() -> None:
    # tp 40, fp 40, fn 70, tn 150
    assert results.pooled_metrics(ROWS) == pytest.approx(
        {"dsc": 80 / 190, "area_difference": 30 / 110, "sensitivity": 40 / 110, "accuracy": 190 / 300}
    )


def test_the_mean_over_images_divides_first() -> None:
    assert results.mean_image_metrics(ROWS)["dsc"] == pytest.approx((60 / 90 + 0 + 20 / 50) / 3)


def test_a_metric_without_value_is_nan_not_0() -> None:
    nothing = row("x", 2, [0, 5, 0, 5])
    assert math.isnan(nothing["sensitivity"])
    assert math.isnan(nothing["area_difference"])
    assert math.isnan(results.mean_image_metrics([row("x", 2, [0, 5, 0, 5]), *ROWS])["sensitivity"])


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    results.write_results(tmp_path / "results.csv", ROWS)
    again = results.read_results(tmp_path / "results.csv")
    for before, after in zip(ROWS, again, strict=True):
        assert {name: after[name] for name in ("case", "density", *results.COUNTS)} == {
            name: before[name] for name in ("case", "density", *results.COUNTS)
        }
        assert after["dsc"] == before["dsc"]
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_the_markdown_table_shows_percent_and_a_dash_for_no_value() -> None:
    lines = tables.markdown(ROWS).splitlines()
    assert lines[2] == "| all, pooled over pixels | 3 | 42.11 | 27.27 | 36.36 | 63.33 |"
    assert lines[4] == "| ACR 1, pooled | 2 | 42.86 | 60.00 | 30.00 | 60.00 |"
    assert lines[5] == "| ACR 2, pooled | 0 | – | – | – | – |"
