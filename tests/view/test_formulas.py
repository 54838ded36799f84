"""Metrics in JavaScript, compared with those in Python."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import mammoseg.view
from mammoseg.metrics import PIXEL_METRICS, PooledPixelMetric, metrics_from_counts
from mammoseg.runs.results import with_metrics
from mammoseg.view.formulas import metrics_script, to_javascript

COUNTS = [[30, 10, 20, 40], [0, 0, 50, 50], [0, 5, 0, 5], [0, 0, 0, 9], [7, 0, 0, 0]]


def test_formulas_are_translated_operation_by_operation() -> None:
    assert to_javascript(PIXEL_METRICS["dsc"]) == "((2 * tp) / (((2 * tp) + fp) + fn))"
    area = to_javascript(PIXEL_METRICS["area_difference"])
    assert area == "(((tp + fn) > 0) ? (Math.abs((fp - fn)) / (tp + fn)) : NaN)"


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
@pytest.mark.parametrize("function", ["computeMetrics", "computeImageMetrics"])
def test_javascript_metrics_equal_python_metrics(function: str) -> None:
    """Pooled over images, or of an image, whose DSC is undefined without a mass."""
    metrics_js = (Path(mammoseg.view.__file__).parent / "metrics.js").read_text()
    counts = [dict(zip(("tp", "fp", "fn", "tn"), row, strict=True)) for row in COUNTS]
    # JSON has no NaN, so values are passed as strings.
    values = f"({json.dumps(counts)}).map((row) => Object.entries({function}(row)).map(([k, v]) => [k, String(v)]))"
    script = f"{metrics_script()}\n{metrics_js}\nconsole.log(JSON.stringify({values}));"
    process = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True)
    of_images = {key: np.array([row[key] for row in with_metrics(counts)]) for key in PIXEL_METRICS}
    expected = of_images if function == "computeImageMetrics" else metrics_from_counts(np.array(COUNTS))
    for index, row in enumerate(json.loads(process.stdout)):
        actual = {key: float(value.replace("NaN", "nan")) for key, value in row}
        for key in PIXEL_METRICS:
            assert actual[key] == pytest.approx(expected[key][index], rel=1e-12, nan_ok=True), key


@pytest.mark.parametrize(
    "formula", [lambda tp, fp, fn, tn: tp.log(), lambda tp, fp, fn, tn: tp if tp > 0 else fp, torch.hypot]
)
def test_untranslatable_metric_is_skipped_with_a_warning(
    formula: Callable[..., Tensor], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Untranslatable(PooledPixelMetric):
        title = "Untranslatable"
        higher_is_better = True

        @staticmethod
        def formula(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
            return formula(tp, fp, fn, tn)

    monkeypatch.setitem(PIXEL_METRICS, "untranslatable", Untranslatable)
    with caplog.at_level(logging.WARNING):
        script = metrics_script()
    assert "Untranslatable is not shown in the viewer" in caplog.text
    assert '"dsc"' in script
    assert '"untranslatable"' not in script
