"""Differences between results on another dataset and on that of the training, against direct computations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.results_files import rows_of, write_run
from mammoseg.compare.run_groups import group_runs, shows_datasets
from mammoseg.metrics import metrics_from_counts
from mammoseg.runs.discovery import RunResults, find_runs
from mammoseg.runs.results import count_array
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison
from mammoseg.statistics.external_difference import ExternalDifference, external_differences

COLUMNS = ("trained_on", "part", "seen", "networks")
RESAMPLES = 4000


def external_rows(method: str, images: int = 30, seen: str = "no", **arguments: Any) -> list[dict[str, Any]]:
    """Results of a network that was trained on phantom and tested on clinic, the same images for all folds."""
    fold = arguments.pop("fold", "")
    rows = rows_of(method, images=images, dataset="clinic", masses_seed=11, **arguments)
    extra = {"fold": fold, "trained_on": "phantom", "part": "all", "seen": seen, "networks": 1}
    return [{**row, **extra, "case": f"c{row['case']}", "patient": f"c{row['patient']}"} for row in rows]


def write_external(folder: Path, rows: list[dict[str, Any]], settings: dict[str, Any] | None = None) -> None:
    write_run(folder, rows, settings, COLUMNS)


def compared(runs: list[RunResults]) -> Comparison:
    return Comparison(align_runs(runs), RESAMPLES, 0.95, 0)


def dsc(rows: list[dict[str, Any]]) -> float:
    return float(metrics_from_counts(count_array(rows).sum(axis=0))["dsc"])


def bootstrap_error(rows: list[dict[str, Any]]) -> float:
    """Standard error of the pooled DSC over patients, corrected for their effective number as in the comparison."""
    patients = sorted({row["patient"] for row in rows})
    counts = np.stack([count_array([row for row in rows if row["patient"] == name]).sum(axis=0) for name in patients])
    rng = np.random.default_rng(99)
    drawn = rng.integers(len(patients), size=(RESAMPLES, len(patients)))
    return float(np.std([metrics_from_counts(counts[rows_].sum(axis=0))["dsc"] for rows_ in drawn], ddof=1))


def difference_in_dsc(folder: Path) -> tuple[ExternalDifference, Comparison, Comparison]:
    groups = group_runs(find_runs([folder]))
    internal, external = compared(groups["phantom"]), compared(groups["clinic"])
    (found,) = [own for own in external_differences(internal, external) if own.metric == "dsc"]
    return found, internal, external


def test_single_networks_are_compared_without_pairing(tmp_path: Path) -> None:
    own, other = rows_of("au_net", quality=0.8), external_rows("au_net", quality=0.6)
    write_run(tmp_path / "own", own)
    write_external(tmp_path / "other", other)
    found, internal, external = difference_in_dsc(tmp_path)
    assert found.value == pytest.approx(dsc(other) - dsc(own))
    assert (found.trained_on, found.tested_on, found.n_trainings) == ("phantom", "clinic", 1)
    n = min(internal.resampler.effective_patients(), external.resampler.effective_patients())
    expected = np.sqrt((bootstrap_error(own) ** 2 + bootstrap_error(other) ** 2) * n / (n - 1))
    assert found.inference.standard_error == pytest.approx(expected, rel=0.08)
    assert np.isnan(found.inference.p)


def test_a_method_with_a_single_training_is_not_tested(tmp_path: Path) -> None:
    """The variance between its trainings is unknown, although that of the other method is known."""
    for method, seeds in (("au_net", (0, 1)), ("density_asp", (0,))):
        for seed in seeds:
            write_run(tmp_path / f"own-{method}{seed}", rows_of(method, quality=0.8, seed=seed))
            write_external(tmp_path / f"other-{method}{seed}", external_rows(method, quality=0.6, seed=seed))
    groups = group_runs(find_runs([tmp_path]))
    differences = external_differences(compared(groups["phantom"]), compared(groups["clinic"]))
    tested = {own.method: own.inference.is_test for own in differences if own.metric == "dsc"}
    assert tested == {"au_net": True, "density_asp": False}


def test_equal_counts_on_different_images_have_an_uncertain_difference(tmp_path: Path) -> None:
    """A paired comparison would have a standard error of 0."""
    own = rows_of("au_net", quality=0.8)
    other = [
        {**row, "dataset": "clinic", "trained_on": "phantom", "part": "all", "seen": "no", "networks": 1} for row in own
    ]
    write_run(tmp_path / "own", own)
    write_external(tmp_path / "other", other)
    found, *_ = difference_in_dsc(tmp_path)
    assert found.value == 0
    assert found.inference.standard_error == pytest.approx(np.sqrt(2) * bootstrap_error(own), rel=0.1)
    assert found.inference.low < 0 < found.inference.high


def test_the_variance_between_trainings_is_that_of_the_differences(tmp_path: Path) -> None:
    """Seeds that shift both results by the same amount do not widen the interval, others do."""
    errors = {}
    for name, shifts in (("same", (0.0, 0.1, 0.2, 0.3)), ("opposite", (0.0, -0.1, -0.2, -0.3))):
        for seed, (shift, other_shift) in enumerate(zip((0.0, 0.1, 0.2, 0.3), shifts, strict=True)):
            write_run(tmp_path / name / f"own{seed}", rows_of("au_net", quality=0.5 + shift, seed=seed))
            rows = external_rows("au_net", quality=0.7 + other_shift - 0.2 * (name == "same"), seed=seed)
            write_external(tmp_path / name / f"other{seed}", rows)
        found, *_ = difference_in_dsc(tmp_path / name)
        assert found.n_trainings == 4
        assert 0 <= found.inference.p <= 1
        errors[name] = found.inference.standard_error
    assert errors["opposite"] > 2 * errors["same"]


def test_folds_are_replicates(tmp_path: Path) -> None:
    own = {fold: rows_of("au_net", quality=0.6 + 0.05 * fold, fold=fold) for fold in range(3)}
    other = {fold: external_rows("au_net", quality=0.5 + 0.05 * fold, fold=fold) for fold in range(3)}
    for fold in range(3):
        write_run(tmp_path / f"own{fold}", own[fold])
        write_external(tmp_path / f"other{fold}", other[fold])
    found, internal, external = difference_in_dsc(tmp_path)
    assert found.n_trainings == 3
    assert found.value == pytest.approx(np.mean([dsc(other[fold]) - dsc(own[fold]) for fold in range(3)]))
    assert internal.is_cross_validation
    assert not external.is_cross_validation, "the networks of all folds are tested on the same images"
    assert list(external.data.runs["au_net"]) == [("", f"0 (fold {fold})") for fold in range(3)]


def test_networks_of_several_splits_are_tested_on_the_same_images(tmp_path: Path) -> None:
    for seed in (0, 1):
        settings = {"split": {"seed": seed}}
        write_run(tmp_path / f"own{seed}", rows_of("au_net", quality=0.7, fold=0, masses_seed=seed), settings)
        write_external(tmp_path / f"other{seed}", external_rows("au_net", quality=0.6, fold=0), settings)
    found, internal, external = difference_in_dsc(tmp_path)
    assert found.n_trainings == 2
    assert list(internal.data.cases) == ["0 of split 0", "0 of split 1"]
    assert list(external.data.runs["au_net"]) == [("", "0 (fold 0) of split 0"), ("", "0 (fold 0) of split 1")]


def test_networks_with_other_settings_are_not_compared(tmp_path: Path) -> None:
    write_run(tmp_path / "own", rows_of("au_net", quality=0.8))
    write_external(tmp_path / "other", external_rows("au_net", quality=0.6), {"loss": {"alpha": 3.0}})
    groups = group_runs(find_runs([tmp_path]))
    assert external_differences(compared(groups["phantom"]), compared(groups["clinic"])) == []
    write_external(tmp_path / "tta", external_rows("density_asp", quality=0.6), {"tta": True})
    write_run(tmp_path / "own-asp", rows_of("density_asp", quality=0.8))
    groups = group_runs(find_runs([tmp_path]))
    assert external_differences(compared(groups["phantom"]), compared(groups["clinic"])) == []


def test_external_tests_are_grouped_with_internal_ones_on_the_same_images(tmp_path: Path) -> None:
    rows = external_rows("au_net", quality=0.6)
    write_external(tmp_path / "other", rows)
    trained_on_clinic = [{**row, "trained_on": "clinic"} for row in rows]
    write_external(tmp_path / "same", [{**row, "method": "density_asp"} for row in trained_on_clinic])
    write_external(tmp_path / "fewer", [{**row, "method": "arf_net"} for row in rows[:10]])
    groups = group_runs(find_runs([tmp_path]))
    assert {name: sorted(run.method for run in runs) for name, runs in groups.items()} == {
        "clinic": ["au_net", "density_asp"],
        "clinic-external": ["arf_net"],
    }
    assert shows_datasets(groups["clinic"])
    assert not shows_datasets([run for run in groups["clinic"] if run.method == "density_asp"])


def write_evaluated(folder: Path, rows: list[dict[str, Any]], more_columns: tuple[str, ...] = ()) -> None:
    """Write an output folder of `evaluate` for the dataset of the training."""
    record = write_run(folder, rows, more_columns=more_columns) / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"status": "evaluated"}))


def ensemble_rows(*, networks: int, external: bool) -> list[dict[str, Any]]:
    """Results of an ensemble of the networks of all folds."""
    rows = external_rows("au_net-ensemble2", quality=0.7)
    return [{**row, "networks": networks, **({} if external else {"dataset": "phantom"})} for row in rows]


def test_an_ensemble_of_folds_and_repeated_tests_do_not_prevent_the_comparison(tmp_path: Path) -> None:
    """As after the commands of the documentation, which write them to the same folder as external tests."""
    own = {fold: rows_of("au_net", quality=0.7, fold=fold) for fold in range(2)}
    for fold in range(2):
        write_run(tmp_path / "folds" / str(fold), own[fold])
        write_evaluated(tmp_path / "evaluate" / str(fold), own[fold])
    write_evaluated(tmp_path / "evaluate" / "ensemble", ensemble_rows(networks=1, external=False), COLUMNS)
    groups = group_runs(find_runs([tmp_path / "folds", tmp_path / "evaluate"]))
    assert {name: len(runs) for name, runs in groups.items()} == {"phantom": 2, "phantom-ensemble": 1}
    assert all(compared(runs).methods for runs in groups.values())
    assert len(find_runs([tmp_path / "evaluate"])) == 3, "tests are not repeated without the runs"


@pytest.mark.parametrize(("networks", "n_differences"), [(1, 4), (2, 0)])
def test_ensembles_of_other_networks_are_not_compared(networks: int, n_differences: int, tmp_path: Path) -> None:
    """On its own dataset, an ensemble of folds predicts each image with one network."""
    write_evaluated(tmp_path / "own", ensemble_rows(networks=1, external=False), COLUMNS)
    write_external(tmp_path / "other", ensemble_rows(networks=networks, external=True))
    groups = group_runs(find_runs([tmp_path / "own", tmp_path / "other"]))
    assert len(external_differences(compared(groups["phantom"]), compared(groups["clinic"]))) == n_differences


def test_seen_images_are_noted(tmp_path: Path) -> None:
    write_external(tmp_path / "other", external_rows("au_net", quality=0.6, seen="train"))
    (run,) = find_runs([tmp_path])
    assert run.seen_counts == {"train": 30}
    notes = align_runs([run]).notes
    assert "The methods were tested on clinic and trained on: au_net on phantom." in notes
    assert any("au_net: 30 of the 30 test images are not independent of the training" in note for note in notes)
