"""Contract of a metric on pixel counts: defining the class adds it to every table and figure."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from torch import Tensor

from helpers.results_files import rows_of, write_run
from mammoseg.compare.report import write_comparison_reports
from mammoseg.conf import conf_dir
from mammoseg.dashboard.workspace import build_workspace, specification
from mammoseg.evaluate import native_report, native_resolution
from mammoseg.export import model_card
from mammoseg.export.card_metadata import StoredWeights
from mammoseg.losses import DensityASP
from mammoseg.metrics import PIXEL_METRICS, PooledPixelMetric, metrics_from_counts
from mammoseg.metrics.detection import MatchingRule
from mammoseg.models.au_net import AUNet
from mammoseg.reports import run_figures, run_summary
from mammoseg.runs import checkpoint
from mammoseg.runs.results import NATIVE_FILE, columns, read_results, write_results, write_table
from mammoseg.segmenter import Segmenter
from mammoseg.sweep_report.sweep_report import write_sweep_report
from mammoseg.view.formulas import metrics_script

RESULTS_V0_1 = Path(__file__).parents[1] / "fixtures" / "v0_1" / "results.csv"
PAPER = ("dsc", "area_difference", "sensitivity", "accuracy")
HEADING = "Precision ↑"
COUNTS = st.integers(0, 10**7)
POSITIVE = st.integers(1, 10**7)


@pytest.fixture
def precision() -> Iterator[type[PooledPixelMetric]]:
    """A fifth metric, registered by its definition."""

    class Precision(PooledPixelMetric):
        """Precision TP / (TP + FP); higher is better."""

        key = "precision"
        title = "Precision"
        short_name = "Prec."
        higher_is_better = True

        @staticmethod
        def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
            return tp / (tp + fp)

    yield Precision
    del PIXEL_METRICS["precision"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Results of two methods in two folds, written before the fifth metric is defined."""
    for method, quality in (("au_net", 0.6), ("density_asp", 0.8)):
        for fold in (0, 1):
            write_run(tmp_path / "runs" / f"{method}{fold}", rows_of(method, quality=quality, fold=fold))
    return tmp_path / "runs"


# In the tests below, `runs` must be the first fixture, so that results.csv lacks the metric.


def cells(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_metric_is_computed_for_results_of_earlier_versions(precision: type[PooledPixelMetric]) -> None:
    assert "precision" not in RESULTS_V0_1.read_text().splitlines()[0]
    rows = read_results(RESULTS_V0_1)
    assert len(rows) > 1
    for row in rows:
        assert row["precision"] == row["tp"] / (row["tp"] + row["fp"])


def test_new_results_have_the_metric_as_last_column(precision: type[PooledPixelMetric], tmp_path: Path) -> None:
    write_results(tmp_path / "results.csv", read_results(RESULTS_V0_1))
    previous, written = RESULTS_V0_1.read_text().splitlines(), (tmp_path / "results.csv").read_text().splitlines()
    assert [line.rsplit(",", 1)[0] for line in written] == previous
    assert written[0].endswith(",accuracy,precision")


def test_metric_columns_are_ignored_on_reading(tmp_path: Path) -> None:
    rows = cells(RESULTS_V0_1)
    names = [name for name in rows[0] if name not in PAPER]
    invalid = [{**{name: row[name] for name in names}, "dsc": "invalid", "unknown": "0.5"} for row in rows]
    write_table(tmp_path / "results.csv", invalid, (*names, "dsc", "unknown"))
    actual, expected = read_results(tmp_path / "results.csv"), read_results(RESULTS_V0_1)
    assert [[row[key] for key in PAPER] for row in actual] == [[row[key] for key in PAPER] for row in expected]


def test_run_summary_lists_the_metric(precision: type[PooledPixelMetric], capsys: pytest.CaptureFixture[str]) -> None:
    rows = read_results(RESULTS_V0_1)
    pooled = 100 * sum(row["tp"] for row in rows) / sum(row["tp"] + row["fp"] for row in rows)
    header, _, first, *_ = run_summary.summary_markdown(rows).splitlines()
    assert header.endswith(f"| {HEADING} |")
    assert first.endswith(f"| {pooled:.2f} |")
    run_summary.print_summary(rows, RESULTS_V0_1.parent)
    assert f"{pooled:.2f}" in capsys.readouterr().out


def test_learning_curves_plot_the_metric(
    precision: type[PooledPixelMetric], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"epoch": 0, "train/loss": 1, "val/precision": 0.5}
    write_table(tmp_path / "metrics.csv", [row], tuple(row))
    saved: list[Figure] = []
    savefig = Figure.savefig

    def record(figure: Figure, *args: Any, **kwargs: Any) -> None:
        saved.append(figure)
        savefig(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", record)
    run_figures.plot_learning_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    labels = [line.get_label() for axis in saved[0].axes for line in axis.get_lines()]
    assert labels == ["training", "Precision"]


def test_comparison_tables_and_figures_contain_the_metric(
    runs: Path, precision: type[PooledPixelMetric], tmp_path: Path
) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("compare", ["runs=runs", "resamples=200", "paper=table1"])
    out = tmp_path / "out"
    write_comparison_reports([runs], out, cfg)
    main = cells(out / "table1.csv")
    assert all(0 < float(row[HEADING]) < 100 for row in main)
    assert {row["paper Prec."] for row in main} == {row["diff. Prec."] for row in main} == {"–"}
    assert all("[" in row[HEADING] for row in cells(out / "uncertainty.csv"))
    assert HEADING in {row["metric"] for row in cells(out / "pairs.csv")}
    assert all(0 <= float(row["precision"]) <= 1 for row in cells(out / "images.csv"))
    assert len(cells(out / "density_precision.csv")) == 2
    for name in ("report.html", "report.md"):
        text = (out / name).read_text(encoding="utf-8")
        assert f"{HEADING} by ACR category" in text
        assert "paper Prec." in text
    for figure in ("metrics.svg", "density.svg"):
        assert "<!-- Precision (%) ↑ -->" in (out / figure).read_text(encoding="utf-8"), figure
    for suffix in ("md", "tex", "csv"):
        assert "Precision" in (out / f"table1.{suffix}").read_text(encoding="utf-8")


def test_sweep_report_ignores_the_metric(precision: type[PooledPixelMetric], tmp_path: Path) -> None:
    """The sweep report ranks settings by DSC and lists no other metric."""
    for alpha in (1.0, 2.0):
        write_run(tmp_path / str(alpha), rows_of("a", quality=0.5 + 0.1 * alpha), {"loss": {"alpha": alpha}})
    for path in tmp_path.glob("*/run.json"):
        path.write_text(path.read_text().replace('"about": {}', '"about": {"dataset": "phantom", "method": "a"}'))
    report = write_sweep_report([tmp_path], tmp_path / "out", 3)
    assert "test DSC" in report.read_text(encoding="utf-8")


def test_model_card_lists_the_metric(precision: type[PooledPixelMetric], tmp_path: Path) -> None:
    best = tmp_path / "checkpoints" / "best.ckpt"
    best.parent.mkdir()
    shutil.copy(RESULTS_V0_1.with_name("best.ckpt"), best)
    shutil.copy(RESULTS_V0_1, tmp_path)
    provenance = checkpoint.load_checkpoint(best)[checkpoint.PROVENANCE_KEY]
    weights = StoredWeights(parameters=1, file_size=1, sha256="", half_precision=False)
    card = model_card.make_model_card(provenance, weights, best, onnx=False, license_name=None)
    assert f"| {HEADING} |" in card
    assert "- type: precision\n" in card


def test_dashboard_plots_the_metric(precision: type[PooledPixelMetric]) -> None:
    pytest.importorskip("wandb_workspaces")
    text = specification(build_workspace("", "project", "name"))
    for name in ("test/precision", "test/precision_density4", "val/precision"):
        assert f'{name}"' in text, name


def test_native_report_lists_the_metric(precision: type[PooledPixelMetric], tmp_path: Path) -> None:
    geometry = dict.fromkeys(native_resolution.GEOMETRY_COLUMNS, "") | {
        "unit": "mm",
        "hd95": 1.0,
        "asd": 0.5,
        "masses": 1,
    }
    rows = [{**row, **geometry} for row in read_results(RESULTS_V0_1)]
    write_results(tmp_path / NATIVE_FILE, rows, native_resolution.NATIVE_COLUMNS)
    write_table(tmp_path / native_resolution.CANDIDATES_FILE, [], native_resolution.CANDIDATE_COLUMNS)
    assert f"| {HEADING} |" in native_report.write_native_report(tmp_path, MatchingRule())


def test_viewer_computes_the_metric(precision: type[PooledPixelMetric]) -> None:
    assert '"key": "precision"' in metrics_script()
    assert "(tp / (tp + fp))" in metrics_script()


def test_training_logs_the_metric(precision: type[PooledPixelMetric]) -> None:
    segmenter = Segmenter(AUNet(1), DensityASP([1.0] * 4))
    assert "val/precision" in dict(segmenter.val_metrics.items())
    assert "test/precision" in dict(segmenter.test_metrics.items())
    assert "test/image_precision" in dict(segmenter.test_image_metrics.items())


def test_metric_without_unit_is_not_scaled() -> None:
    class Ratio(PooledPixelMetric):
        key = "ratio"
        title = "Ratio"
        unit = ""
        value_range = (0.0, math.inf)
        higher_is_better = False

        @staticmethod
        def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
            return (tp + fp) / (tp + fn)

    try:
        rows = read_results(RESULTS_V0_1)
        assert Ratio.short_name == "Ratio"
        mean_over_images = run_summary.summary_markdown(rows).splitlines()[3]
        assert mean_over_images.endswith(f"| {np.mean([row['ratio'] for row in rows]):.2f} |")
        assert run_summary.units_note() == "In % except Ratio"
    finally:
        del PIXEL_METRICS["ratio"]


def test_registered_metrics_equal_those_of_the_paper_and_of_the_columns() -> None:
    """Also checks that the tests above remove their metrics."""
    assert tuple(PIXEL_METRICS) == PAPER
    assert ",".join(columns()) == RESULTS_V0_1.read_text().splitlines()[0]


def test_invalid_definitions_raise() -> None:
    for attributes, message in (
        ({"key": "dsc", "title": "A", "higher_is_better": True}, "already used by DSC"),
        ({"key": "a", "title": "A", "higher_is_better": True, "unit": "mm"}, "unit must be one of"),
        ({"key": "a", "title": "A"}, "higher_is_better must be True or False"),
    ):
        with pytest.raises(ValueError, match=message):
            type("A", (PooledPixelMetric,), attributes)
    assert tuple(PIXEL_METRICS) == PAPER


def evaluate(metric: type[PooledPixelMetric], *counts: int) -> float:
    return metric.formula(*torch.tensor(counts, dtype=torch.float64)).item()


@pytest.mark.parametrize("key", list(PIXEL_METRICS))
@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS, COUNTS), min_size=1, max_size=6))
def test_values_have_the_shape_of_the_counts_and_are_in_the_range(key: str, counts: list[tuple[int, ...]]) -> None:
    metric = PIXEL_METRICS[key]
    values = metrics_from_counts(np.array(counts))[key]
    assert values.shape == (len(counts),)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, [evaluate(metric, *row) for row in counts])
    low, high = metric.value_range
    assert all(math.isnan(value) or low <= value <= high for value in values)


@pytest.mark.parametrize("key", list(PIXEL_METRICS))
def test_no_pixels_give_nan(key: str) -> None:
    assert math.isnan(evaluate(PIXEL_METRICS[key], 0, 0, 0, 0))


@pytest.mark.parametrize("key", list(PIXEL_METRICS))
@given(tp=POSITIVE, fp=POSITIVE, fn=POSITIVE, tn=POSITIVE)
def test_better_predictions_have_better_values(key: str, tp: int, fp: int, fn: int, tn: int) -> None:
    metric = PIXEL_METRICS[key]
    sign = 1 if metric.higher_is_better else -1
    assert metric.heading.endswith("↑" if metric.higher_is_better else "↓")
    value, corrected = evaluate(metric, tp, fp, fn, tn), evaluate(metric, tp + 1, fp - 1, fn - 1, tn + 1)
    assert math.isfinite(value)
    assert sign * corrected >= sign * value
    assert evaluate(metric, tp + fn, 0, 0, tn + fp) == metric.value_range[1 if metric.higher_is_better else 0]
