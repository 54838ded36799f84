"""Comparison of run folders: rejected input, names of methods, and estimates."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.results_files import rows_of, write_run
from mammoseg.compare.tables import protocol_text
from mammoseg.errors import UserError
from mammoseg.runs import results
from mammoseg.runs.discovery import find_runs
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison
from mammoseg.statistics.ranking import argbest


def compare(folder: Path) -> Comparison:
    return Comparison(align_runs(find_runs([folder])), n_resamples=500, confidence_level=0.95, seed=0)


def test_metrics_are_pooled_within_a_fold_and_averaged_over_folds(tmp_path: Path) -> None:
    rows_by_fold = {fold: rows_of("a", quality=0.7, fold=fold) for fold in (0, 1)}
    for fold, rows in rows_by_fold.items():
        write_run(tmp_path / f"a{fold}", rows)
    estimate = compare(tmp_path).overall["a"]["dsc"]
    values = [results.pooled_metrics(rows)["dsc"] for rows in rows_by_fold.values()]
    assert estimate.value == pytest.approx(np.mean(values))
    assert estimate.std == pytest.approx(np.std(values, ddof=1))
    assert estimate.low < estimate.value < estimate.high


def test_metrics_by_density_are_pooled_over_the_images_of_each_category(tmp_path: Path) -> None:
    rows = rows_of("a", quality=0.7)
    write_run(tmp_path / "a", rows)
    for category, estimates in compare(tmp_path).by_density.items():
        category_rows = [row for row in rows if row["density"] == category]
        assert estimates["a"]["sensitivity"].value == pytest.approx(
            results.pooled_metrics(category_rows)["sensitivity"]
        )


def test_the_deviation_by_density_is_that_of_the_images_of_the_category(tmp_path: Path) -> None:
    rows_by_seed = {seed: rows_of("a", quality=0.7, seed=seed) for seed in (0, 1, 2)}
    for seed, rows in rows_by_seed.items():
        write_run(tmp_path / str(seed), rows)
    values = [
        results.pooled_metrics([row for row in rows if row["density"] == 3])["dsc"] for rows in rows_by_seed.values()
    ]
    assert compare(tmp_path).by_density[3]["a"]["dsc"].std == pytest.approx(np.std(values, ddof=1))


def test_size_groups_partition_the_images(tmp_path: Path) -> None:
    rows = rows_of("a", quality=0.7)
    write_run(tmp_path / "a", rows)
    subsets = [subset for _, subset in compare(tmp_path).size_groups]
    assert np.sum(subsets, axis=0).tolist() == [1] * len(rows)


def test_methods_are_compared_on_the_mean_over_their_seeds(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        write_run(tmp_path / f"b{seed}", rows_of("b", quality=0.5, seed=seed))
    rows_by_seed = {seed: rows_of("a", quality=0.8, seed=seed) for seed in (0, 1)}
    for seed, rows in rows_by_seed.items():
        write_run(tmp_path / f"a{seed}", rows)
    comparison = compare(tmp_path)
    expected = np.mean([[row["dsc"] for row in rows] for rows in rows_by_seed.values()], axis=0)
    np.testing.assert_allclose(comparison.by_image["a"]["dsc"], expected)
    (difference,) = comparison.differences("dsc", [("a", "b")])
    assert (difference.first, difference.second) == ("a", "b")
    assert 0 < difference.inference.low < difference.value < difference.inference.high
    assert difference.p_holm == difference.inference.p < 0.01
    assert difference.effect_size > 0.9
    assert any("different numbers of seeds (a 2, b 3)" in note for note in comparison.data.notes)


def test_values_of_a_patient_are_means_over_the_images(tmp_path: Path) -> None:
    rows = rows_of("a", quality=0.8)
    write_run(tmp_path / "a", rows)
    expected: dict[str, list[float]] = {row["patient"]: [] for row in rows}
    for row in rows:
        expected[row["patient"]].append(row["dsc"])
    actual = compare(tmp_path).by_patient["a"]["dsc"]
    np.testing.assert_allclose(actual, [np.mean(expected[patient]) for patient in sorted(expected)])


def test_different_pairs_of_fold_and_seed_are_reported(tmp_path: Path) -> None:
    for fold, seed in ((0, 0), (0, 1), (1, 0), (1, 1)):
        write_run(tmp_path / f"a{fold}{seed}", rows_of("a", quality=0.8, fold=fold, seed=seed))
    for fold, seed in ((0, 1), (1, 0)):
        write_run(tmp_path / f"b{fold}{seed}", rows_of("b", quality=0.5, fold=fold, seed=seed))
    comparison = compare(tmp_path)
    assert any("(numbers of runs: a 4, b 2)" in note for note in comparison.data.notes)
    assert "averaged over 2 folds and up to 2 seeds" in protocol_text(comparison)


def test_settings_besides_network_and_loss_are_reported(tmp_path: Path) -> None:
    shared = {"loss": {"alpha": 1.0}, "trainer": {"precision": "32-true"}, "augment": None, "seed": 0}
    other = {"loss": {"alpha": 2.0}, "trainer": {"precision": "bf16-mixed"}, "augment": {"_target_": "a"}, "seed": 1}
    write_run(tmp_path / "a", rows_of("a", quality=0.8), shared)
    write_run(tmp_path / "b", rows_of("b", quality=0.5), other)
    (note,) = compare(tmp_path).data.notes
    assert note.endswith("the methods differ in the settings augment._target_, trainer.precision.")


def test_a_method_with_a_single_run_is_not_tested(tmp_path: Path) -> None:
    """The variance between its trainings is unknown, although that of the other methods is known."""
    for method, quality, n_seeds in (("a", 0.8, 2), ("b", 0.5, 2), ("c", 0.6, 1)):
        for seed in range(n_seeds):
            write_run(tmp_path / f"{method}{seed}", rows_of(method, quality=quality, seed=seed))
    comparison = compare(tmp_path)
    tested, *untested = comparison.differences("dsc", [("a", "b"), ("a", "c"), ("c", "b")])
    assert tested.inference.p == tested.p_holm, "a family of one test"
    assert np.isnan([value for each in untested for value in (each.inference.p, each.p_holm)]).all()
    write_run(tmp_path / "only" / "c", rows_of("c", quality=0.6))
    alone = compare(tmp_path / "only").overall["c"]["dsc"]
    assert comparison.overall["c"]["dsc"].low == pytest.approx(alone.low, abs=0.01)
    assert comparison.overall["c"]["dsc"].high == pytest.approx(alone.high, abs=0.01)


def test_single_runs_have_no_p_value(tmp_path: Path) -> None:
    for method, quality in (("a", 0.8), ("b", 0.5)):
        write_run(tmp_path / method, rows_of(method, quality=quality))
    comparison = compare(tmp_path)
    assert not comparison.is_about_methods
    (difference,) = comparison.differences("dsc", [("a", "b")])
    assert 0 < difference.inference.low < difference.value < difference.inference.high
    assert np.isnan([difference.inference.p, difference.p_holm, difference.inference.degrees_of_freedom]).all()


def test_differences_between_seeds_widen_the_intervals(tmp_path: Path) -> None:
    widths, freedoms = [], []
    for spread in (0.0, 0.1):
        for method in ("a", "b"):
            for seed, offset in enumerate((-spread, spread)):
                rows = rows_of(method, quality=0.6 + offset, seed=seed)
                write_run(tmp_path / str(spread) / f"{method}{seed}", rows)
        (difference,) = compare(tmp_path / str(spread)).differences("dsc", [("a", "b")])
        widths.append(difference.inference.high - difference.inference.low)
        freedoms.append(difference.inference.degrees_of_freedom)
    assert widths[1] > 5 * widths[0]
    assert freedoms[1] < freedoms[0]
    assert freedoms[1] == pytest.approx(2, abs=0.5)  # two methods with two seeds


def test_categories_are_pooled_over_the_folds_in_which_they_occur(tmp_path: Path) -> None:
    rows_by_fold = {fold: rows_of("a", quality=0.7, fold=fold) for fold in (0, 1, 2)}
    rows_by_fold[0] = [row for row in rows_by_fold[0] if row["density"] != 4]
    for fold, rows in rows_by_fold.items():
        write_run(tmp_path / f"a{fold}", rows)
    estimate = compare(tmp_path).by_density[4]["a"]["dsc"]
    pooled = [row for rows in rows_by_fold.values() for row in rows if row["density"] == 4]
    assert estimate.value == pytest.approx(results.pooled_metrics(pooled)["dsc"])
    assert estimate.low < estimate.value < estimate.high


def test_the_bootstrap_is_reproducible(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / str(seed), rows_of("a", quality=0.8, seed=seed))
    assert compare(tmp_path).overall == compare(tmp_path).overall


def test_methods_are_disambiguated_by_the_settings_in_which_their_runs_differ(tmp_path: Path) -> None:
    for alpha in (1.0, 2.5):
        write_run(tmp_path / str(alpha), rows_of("a", quality=0.7, seed=0), {"loss": {"alpha": alpha}})
    assert compare(tmp_path).methods == ["a (loss.alpha=1.0)", "a (loss.alpha=2.5)"]


def test_compute_settings_do_not_disambiguate_methods(tmp_path: Path) -> None:
    compute_settings = ({"on_device": False, "workers": 2}, {"on_device": True, "workers": None})
    for seed, settings in enumerate(compute_settings):
        write_run(tmp_path / str(seed), rows_of("a", quality=0.7, seed=seed), {"dataset": settings})
    assert compare(tmp_path).methods == ["a"]


def test_a_duplicate_fold_is_rejected_with_both_folders(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_run(tmp_path / name, rows_of("a", quality=0.7, fold=3))
    with pytest.raises(UserError, match=r"two runs of a, fold 3, seed 0.*first.*second"):
        compare(tmp_path)


def test_different_test_images_are_rejected(tmp_path: Path) -> None:
    write_run(tmp_path / "a", rows_of("a", quality=0.7))
    write_run(tmp_path / "b", rows_of("b", quality=0.7, images=38))
    with pytest.raises(UserError, match="images differ"):
        compare(tmp_path)


def test_different_preprocessing_is_rejected(tmp_path: Path) -> None:
    write_run(tmp_path / "a", rows_of("a", quality=0.7))
    write_run(tmp_path / "b", rows_of("b", quality=0.7, masses_seed=8))
    with pytest.raises(UserError, match="preprocessed differently"):
        compare(tmp_path)


def test_folds_missing_for_a_method_are_excluded_with_a_note(tmp_path: Path) -> None:
    for fold in (0, 1):
        write_run(tmp_path / f"a{fold}", rows_of("a", quality=0.7, fold=fold))
    write_run(tmp_path / "b0", rows_of("b", quality=0.7, fold=0))
    comparison = compare(tmp_path)
    assert list(comparison.data.cases) == ["0"]
    assert "fold 1" in comparison.data.notes[0]


def test_methods_without_a_common_fold_are_rejected(tmp_path: Path) -> None:
    write_run(tmp_path / "a", rows_of("a", quality=0.7, fold=0))
    write_run(tmp_path / "b", rows_of("b", quality=0.7, fold=1))
    with pytest.raises(UserError, match="at least one fold in common"):
        compare(tmp_path)


def test_an_unfinished_run_is_skipped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_run(tmp_path / "a", rows_of("a", quality=0.7))
    (write_run(tmp_path / "b", rows_of("b", quality=0.7)) / "results.csv").unlink()
    with caplog.at_level(logging.WARNING):
        assert compare(tmp_path).methods == ["a"]
    assert "not finished" in caplog.text


def test_folders_without_results_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no results.csv"):
        find_runs([tmp_path])
    with pytest.raises(UserError, match="no such folder"):
        find_runs([tmp_path / "missing"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("tp,", "true,", 1), "no column tp"),
        (lambda text: text.splitlines()[0] + "\n", "has no row"),
        (
            lambda text: text.replace(",LEFT", "").replace(",CC,1,", ",CC,x,", 1),
            "density of case .* must be an integer",
        ),
        (lambda text: text.replace(",CC,1,", ",CC,1,-", 1), "between 0 and"),
        (lambda text: text + text.splitlines()[1] + "\n", "an image twice"),
        (lambda text: text.rsplit(",", 8)[0] + "\n", "test the run again"),
    ],
)
def test_a_damaged_results_file_is_rejected(tmp_path: Path, damage: Callable[[str], str], message: str) -> None:
    path = write_run(tmp_path / "a", rows_of("a", quality=0.7)) / "results.csv"
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=message):
        find_runs([tmp_path])


def test_runs_with_damaged_files_are_skipped_or_rejected(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", rows_of("a", quality=0.7))
    record = (folder / "run.json").read_text()
    (folder / "run.json").write_text('{"settings":')
    with pytest.raises(UserError, match=r"no results.csv of a finished run"):
        find_runs([tmp_path])
    (folder / "run.json").write_text(record)
    (folder / "results.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"results.csv: .*test the run again"):
        find_runs([tmp_path])


def test_argbest_returns_all_values_that_are_equal_to_two_decimals() -> None:
    assert argbest([0.50001, 0.50002, 0.4], "dsc") == {0, 1}
    assert argbest([0.5, 0.2, float("nan")], "area_difference") == {1}
    assert argbest([float("nan")], "dsc") == set()


def test_no_value_is_best_if_all_are_tied() -> None:
    assert argbest([0.50001, 0.50002], "dsc") == set()
    assert argbest([0.5, float("nan")], "dsc") == set()
    assert argbest([0.5], "dsc") == set()


def test_precision_distinguishes_methods(tmp_path: Path) -> None:
    for seed, precision in enumerate(("32-true", "bf16-mixed")):
        write_run(tmp_path / precision, rows_of("a", quality=0.7, seed=seed), {"trainer": {"precision": precision}})
    assert compare(tmp_path).methods == ["a (trainer.precision=32-true)", "a (trainer.precision=bf16-mixed)"]


def test_splits_with_different_seeds_are_different_folds(tmp_path: Path) -> None:
    for split_seed in (0, 1):
        rows = rows_of("a", quality=0.7, fold=0, masses_seed=split_seed)
        write_run(tmp_path / str(split_seed), rows, {"split": {"seed": split_seed}})
    data = compare(tmp_path).data
    assert list(data.cases) == ["0 of split 0", "0 of split 1"]
    assert any("2 different split seeds" in note for note in data.notes)
