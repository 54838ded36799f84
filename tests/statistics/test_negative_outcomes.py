"""Specificity, false positives and ROC of runs and methods, and where they are shown."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from helpers.results_files import PIXELS, row, rows_of, write_run
from mammoseg.compare.secondary_tables import negatives_tables
from mammoseg.errors import UserError
from mammoseg.reports.run_summary import summary_markdown
from mammoseg.runs import results
from mammoseg.runs.checked_results import read_rows
from mammoseg.runs.discovery import find_runs
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison
from mammoseg.statistics.negative_outcomes import outcomes_of_method, outcomes_of_rows


def rows_with_negatives(method: str, *, fold: int = 0, seed: int = 0) -> list[dict[str, Any]]:
    """Results of 20 images with a mass and 16 without one, of 18 patients; a third of the latter has no prediction."""
    rows = rows_of(method, quality=0.7, fold=fold, seed=seed, images=36)
    rng = np.random.default_rng([seed, fold, len(method)])
    for n, image in enumerate(rows):
        image["max_probability"] = float(np.round(rng.uniform(0.2, 0.8) + 0.2 * (n < 20), 2))
        image["false_positives"] = int(rng.integers(0, 3))
        if n >= 20:
            fp = 0 if n % 3 == 0 else 10
            image |= {"tp": 0, "fp": fp, "fn": 0, "tn": PIXELS - fp}
    return results.with_metrics(rows)


def without_scores(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in results.NEGATIVE_COLUMNS} for row in rows]


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    write_run(folder, without_scores(rows))
    results.write_results(folder / "results.csv", rows, results.NEGATIVE_COLUMNS)
    return folder


def compare(folder: Path) -> Comparison:
    return Comparison(align_runs(find_runs([folder])), n_resamples=300, confidence_level=0.95, seed=0)


def test_outcomes_of_a_run() -> None:
    rows = rows_with_negatives("a")
    outcomes = outcomes_of_rows(rows)
    assert outcomes.specificity == pytest.approx(5 / 16)  # 21, 24, 27, 30 and 33
    assert outcomes.false_positives == pytest.approx(np.mean([image["false_positives"] for image in rows[20:]]))
    labels, scores = [n < 20 for n in range(36)], [image["max_probability"] for image in rows]
    assert outcomes.image_auc.value == pytest.approx(roc_auc_score(labels, scores))
    assert outcomes.image_auc.low < outcomes.image_auc.value < outcomes.image_auc.high
    by_patient = np.array(scores).reshape(18, 2).max(axis=1)
    assert outcomes.patient_auc.value == pytest.approx(roc_auc_score(np.arange(18) < 10, by_patient))


def test_outcomes_of_a_method_are_averaged_over_seeds_and_folds(tmp_path: Path) -> None:
    values = {}
    for fold, seeds in ((0, (0, 1)), (1, (0,))):
        for seed in seeds:
            rows = rows_with_negatives("a", fold=fold, seed=seed)
            write(tmp_path / f"{fold}-{seed}", rows)
            values[fold, seed] = outcomes_of_rows(rows)
    (runs,) = align_runs(find_runs([tmp_path])).runs.values()
    outcomes = outcomes_of_method(runs, n_resamples=300, confidence_level=0.95, seed=0)
    for name in ("image_auc", "patient_auc"):
        areas = {key: getattr(value, name).value for key, value in values.items()}
        expected = ((areas[0, 0] + areas[0, 1]) / 2 + areas[1, 0]) / 2
        estimate = getattr(outcomes, name)
        assert estimate.value == pytest.approx(expected)
        assert estimate.low < estimate.value < estimate.high
    rates = {key: value.false_positives for key, value in values.items()}
    assert outcomes.false_positives == pytest.approx(((rates[0, 0] + rates[0, 1]) / 2 + rates[1, 0]) / 2)


def test_the_tables_of_test_sets_without_negatives_have_no_further_rows_and_columns(tmp_path: Path) -> None:
    rows = rows_of("a", quality=0.7)
    assert len(summary_markdown(rows).splitlines()) == 8
    assert "| all, mean over images | 40 |" in summary_markdown(rows)
    write_run(tmp_path / "run", rows)
    assert negatives_tables(compare(tmp_path), {}) == []
    header = (tmp_path / "run" / "results.csv").read_text().splitlines()[0]
    assert header == ",".join([*results.REQUIRED_RESULT_COLUMNS, "dsc", "area_difference", "sensitivity", "accuracy"])


def test_the_tables_of_test_sets_with_negatives_show_the_outcomes(tmp_path: Path) -> None:
    rows = rows_with_negatives("a")
    summary = summary_markdown(rows)
    assert "| all, pooled over pixels | 36 |" in summary
    assert "| with a mass, mean over images | 20 |" in summary
    assert "| images without a mass | 16 of 36 |" in summary
    assert "| specificity, in % | 31.25 |" in summary
    write(tmp_path / "run", rows)
    names = (*results.COUNTS, *results.NEGATIVE_COLUMNS)
    stored = read_rows(tmp_path / "run" / "results.csv")
    assert [[image[name] for name in names] for image in stored] == [[image[name] for name in names] for image in rows]
    (table,) = negatives_tables(compare(tmp_path), {"a": "A"})
    assert table.rows[0][:2] == ["A", "31.25"]
    area = outcomes_of_rows(rows).image_auc.value
    assert table.rows[0][3].startswith(f"{area:.3f} [")
    assert "16 of the 36 test images have no mass" in table.notes[0]


def test_results_of_earlier_versions_have_no_scores(tmp_path: Path) -> None:
    rows = rows_with_negatives("a")
    write_run(tmp_path / "run", without_scores(rows))
    (table,) = negatives_tables(compare(tmp_path), {})
    assert table.rows[0][1:] == ["31.25", "–", "– [–, –]", "– [–, –]"]
    assert len(summary_markdown(read_rows(tmp_path / "run" / "results.csv")).splitlines()) == 8


def test_masks_of_another_program_have_false_positives_but_no_area_under_the_curve(tmp_path: Path) -> None:
    rows = rows_with_negatives("a")
    for image in rows:
        del image[results.MAX_PROBABILITY]
    summary = summary_markdown(rows)
    n_false_positives = sum(image["false_positives"] for image in rows[20:])
    assert f"| false positives per image without a mass | {n_false_positives / 16:.2f} |" in summary
    assert "| AUC of the images [95 % CI] | – [–, –] |" in summary


@pytest.mark.parametrize(
    ("column", "value"), [("max_probability", "1.5"), ("max_probability", "nan"), ("false_positives", "-1")]
)
def test_invalid_values_in_results_are_an_error(column: str, value: str, tmp_path: Path) -> None:
    path = write(tmp_path / "run", rows_with_negatives("a")) / "results.csv"
    with path.open(newline="") as lines:
        table = list(csv.DictReader(lines))
    table[3][column] = value
    results.write_table(path, table, list(table[0]))
    with pytest.raises(
        UserError, match=r"false_positives of case f0i3 must be at least 0 and max_probability from 0 to 1"
    ):
        read_rows(path)


counts = st.tuples(*[st.integers(0, 50)] * 3, st.integers(1, 50))


@settings(max_examples=40)
@given(st.lists(counts, min_size=1, max_size=8), st.lists(counts, min_size=1, max_size=8), st.randoms())
def test_an_image_without_a_mass_never_enters_a_per_image_metric(
    with_mass: list[tuple[int, ...]], without_mass: list[tuple[int, ...]], random: Any
) -> None:
    positive = [row(f"p{n}", 1, [tp + 1, fp, fn, tn]) for n, (tp, fp, fn, tn) in enumerate(with_mass)]
    negative = [row(f"n{n}", 1, [0, fp, 0, tn]) for n, (_, fp, _, tn) in enumerate(without_mass)]
    mixed = positive + negative
    random.shuffle(mixed)
    assert results.mean_image_metrics(mixed) == pytest.approx(results.mean_image_metrics(positive), nan_ok=True)


def test_the_comparison_uses_images_without_a_mass_in_pooled_metrics_only(tmp_path: Path) -> None:
    rows = rows_with_negatives("a")
    write(tmp_path / "all" / "run", rows)
    write_run(tmp_path / "with_mass" / "run", without_scores(rows[:20]))
    every, with_mass = compare(tmp_path / "all"), compare(tmp_path / "with_mass")
    assert every.overall["a"]["dsc"].value == pytest.approx(results.pooled_metrics(rows)["dsc"])
    assert every.overall["a"]["dsc"].value < with_mass.overall["a"]["dsc"].value
    for key in ("dsc", "accuracy"):
        np.testing.assert_allclose(every.by_patient["a"][key], with_mass.by_patient["a"][key])
        assert np.isnan(every.by_image["a"][key]).sum() == 16
    assert [(label, int(subset.sum())) for label, subset in every.size_groups] == [
        (label, int(subset.sum())) for label, subset in with_mass.size_groups
    ]
