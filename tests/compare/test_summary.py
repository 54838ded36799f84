"""Sentences of the summary of a comparison."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.results_files import rows_of, write_run
from mammoseg.compare.summary import summary_sentences
from mammoseg.runs.discovery import find_runs
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison


@pytest.mark.parametrize(
    ("qualities", "differs"),
    [([0.60, 0.62, 0.64], False), ([0.30, 0.60, 0.90], True), ([0.60, 0.60, 0.60], True)],
    ids=["similar", "larger", "equal results"],
)
def test_unequal_variation_between_seeds_is_reported(qualities: list[float], differs: bool, tmp_path: Path) -> None:
    for method, values in (("a", [0.70, 0.72, 0.74]), ("b", qualities), ("cc", [0.70, 0.72, 0.74])):
        for seed, quality in enumerate(values):
            rows = [{**row, "seed": seed} for row in rows_of(method, quality=quality)]
            write_run(tmp_path / f"{method}{seed}", rows)
    comparison = Comparison(align_runs(find_runs([tmp_path])), n_resamples=100, confidence_level=0.95, seed=0)
    names = {"a": "A", "b": "B", "cc": "C"}
    sentences = summary_sentences(comparison, names, "dsc", "a", None, [("b", "a"), ("cc", "a")])
    assert any("The variation of the DSC between seeds differs" in sentence for sentence in sentences) == differs
    low, high = sorted(comparison.overall[method]["dsc"].std for method in "ab")
    assert (high > 10 * low) == differs
