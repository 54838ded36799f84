"""From run folders to a comparison: what is refused, how runs are told apart, and whether the numbers are right."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from results_files import rows_of, write_run

from mammoseg.errors import UserError
from mammoseg.runs import results
from mammoseg.runs.discovery import find_runs
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison, best


def compared(folder: Path, unit: str = "image") -> Comparison:
    return Comparison(align_runs(find_runs([folder])), resamples=500, level=0.95, seed=0, unit=unit)


def test_pooled_within_a_fold_then_averaged_over_folds(tmp_path: Path) -> None:
    tables = {fold: rows_of("a", quality=0.7, fold=fold) for fold in (0, 1)}
    for fold, rows in tables.items():
        write_run(tmp_path / f"a{fold}", rows)
    estimate = compared(tmp_path).overall["a"]["dsc"]
    values = [results.pooled_metrics(rows)["dsc"] for rows in tables.values()]
    assert estimate.value == pytest.approx(np.mean(values))
    assert estimate.deviation == pytest.approx(np.std(values, ddof=1))
    assert estimate.low < estimate.value < estimate.high


def test_density_and_size_parts_are_pooled_over_their_images(tmp_path: Path) -> None:
    rows = rows_of("a", quality=0.7)
    write_run(tmp_path / "a", rows)
    comparison = compared(tmp_path)
    for category, found in comparison.by_density.items():
        those = [row for row in rows if row["density"] == category]
        assert found["a"]["sensitivity"].value == pytest.approx(results.pooled_metrics(those)["sensitivity"])
    chosen = [mask for _, mask in comparison.size_groups]
    assert np.sum(chosen, axis=0).tolist() == [1] * len(rows)


def test_methods_are_compared_on_the_mean_over_their_seeds(tmp_path: Path) -> None:
    write_run(tmp_path / "b", rows_of("b", quality=0.5))
    seeds = {seed: rows_of("a", quality=0.8, seed=seed) for seed in (0, 1)}
    for seed, rows in seeds.items():
        write_run(tmp_path / f"a{seed}", rows)
    comparison = compared(tmp_path)
    by_hand = np.mean([[row["dsc"] for row in rows] for rows in seeds.values()], axis=0)
    np.testing.assert_allclose(comparison.by_image["a"]["dsc"], by_hand)
    (difference,) = [d for d in comparison.differences if d.metric == "dsc"]
    assert (difference.first, difference.second) == ("a", "b")
    assert 0 < difference.low < difference.mean < difference.high
    assert difference.test.p < 0.001
    assert difference.test.effect > 0.9
    assert comparison.best_share == {"a": 1.0, "b": 0.0}
    assert any("different numbers of seeds (a 2, b 1)" in note for note in comparison.data.notes)


def test_patients_as_units_are_half_as_many(tmp_path: Path) -> None:
    for method, quality in (("a", 0.8), ("b", 0.5)):
        write_run(tmp_path / method, rows_of(method, quality=quality))
    assert len(compared(tmp_path, "patient").by_unit["a"]["dsc"]) == 20


def test_the_same_comparison_gives_the_same_numbers(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / str(seed), rows_of("a", quality=0.8, seed=seed))
    assert compared(tmp_path).overall == compared(tmp_path).overall


def test_runs_of_one_method_are_named_by_the_settings_in_which_they_differ(tmp_path: Path) -> None:
    for alpha in (1.0, 2.5):
        write_run(tmp_path / str(alpha), rows_of("a", quality=0.7, seed=0), {"loss": {"alpha": alpha}})
    assert compared(tmp_path).methods == ["a (loss.alpha=1.0)", "a (loss.alpha=2.5)"]


def test_how_a_run_was_computed_makes_no_other_method_of_it(tmp_path: Path) -> None:
    ways = ({"on_device": False, "workers": 2}, {"on_device": True, "workers": None})
    for seed, way in enumerate(ways):
        write_run(tmp_path / str(seed), rows_of("a", quality=0.7, seed=seed), {"dataset": way})
    assert compared(tmp_path).methods == ["a"]


def test_a_fold_run_twice_is_refused_naming_both(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_run(tmp_path / name, rows_of("a", quality=0.7, fold=3))
    with pytest.raises(UserError, match=r"a, fold 3, seed 0 was run twice.*first.*second"):
        compared(tmp_path)


def test_other_test_images_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "a", rows_of("a", quality=0.7))
    write_run(tmp_path / "b", rows_of("b", quality=0.7, images=38))
    with pytest.raises(UserError, match="other test images"):
        compared(tmp_path)


def test_images_prepared_otherwise_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "a", rows_of("a", quality=0.7))
    write_run(tmp_path / "b", rows_of("b", quality=0.7, masses_seed=8))
    with pytest.raises(UserError, match="preprocessed differently"):
        compared(tmp_path)


def test_folds_that_a_method_lacks_are_left_out_and_said(tmp_path: Path) -> None:
    for fold in (0, 1):
        write_run(tmp_path / f"a{fold}", rows_of("a", quality=0.7, fold=fold))
    write_run(tmp_path / "b0", rows_of("b", quality=0.7, fold=0))
    comparison = compared(tmp_path)
    assert list(comparison.data.cases) == ["0"]
    assert "fold 1" in comparison.data.notes[0]


def test_methods_without_a_common_fold_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path / "a", rows_of("a", quality=0.7, fold=0))
    write_run(tmp_path / "b", rows_of("b", quality=0.7, fold=1))
    with pytest.raises(UserError, match="no fold in common"):
        compared(tmp_path)


def test_an_unfinished_run_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_run(tmp_path / "a", rows_of("a", quality=0.7))
    (write_run(tmp_path / "b", rows_of("b", quality=0.7)) / "results.csv").unlink()
    with caplog.at_level(logging.WARNING):
        assert compared(tmp_path).methods == ["a"]
    assert "not finished" in caplog.text


def test_folders_without_results_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no results.csv"):
        find_runs([tmp_path])
    with pytest.raises(UserError, match="no such folder"):
        find_runs([tmp_path / "missing"])


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text.replace("tp,", "true,", 1), "no column tp"),
        (lambda text: text.splitlines()[0] + "\n", "has no row"),
        (lambda text: text.replace(",LEFT", "").replace(",CC,1,", ",CC,x,", 1), "invalid literal"),
        (lambda text: text.replace(",CC,1,", ",CC,1,-", 1), "negative number"),
        (lambda text: text + text.splitlines()[1] + "\n", "an image twice"),
        (lambda text: text.rsplit(",", 8)[0] + "\n", "test the run again"),
    ],
)
def test_a_damaged_table_is_told(tmp_path: Path, damage, told: str) -> None:
    path = write_run(tmp_path / "a", rows_of("a", quality=0.7)) / "results.csv"
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=told):
        find_runs([tmp_path])


def test_ties_to_two_decimals_are_all_the_best() -> None:
    assert best([0.50001, 0.50002, 0.4], "dsc") == {0, 1}
    assert best([0.5, 0.2, float("nan")], "area_difference") == {1}
    assert best([float("nan")], "dsc") == set()


def test_a_damaged_record_and_a_table_of_bytes_are_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", rows_of("a", quality=0.7))
    record = (folder / "run.json").read_text()
    (folder / "run.json").write_text('{"settings":')
    with pytest.raises(UserError, match=r"run.json: damaged"):
        find_runs([tmp_path])
    (folder / "run.json").write_text(record)
    (folder / "results.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"results.csv: .*test the run again"):
        find_runs([tmp_path])
