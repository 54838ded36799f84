"""Model card: false positives in images without a mass, limitations, licenses and credits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.results_files import rows_of, write_run
from mammoseg.data.known_datasets import CBIS_DDSM, INBREAST, common_license, find_datasets
from mammoseg.export.card_evaluation import evaluation_section
from mammoseg.export.card_metadata import StoredWeights
from mammoseg.export.model_card import evaluation_sections, limitations_section
from mammoseg.runs import results
from mammoseg.runs.discovery import read_run
from mammoseg.runs.folder import RunFolder
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison


def rows_with_negatives(n_negative: int, false_positives: bool) -> list[dict[str, Any]]:
    rows = rows_of("a", quality=0.6, images=24)
    for n, row in enumerate(rows):
        if n < n_negative:
            row |= {"tp": 0, "fn": 0, "fp": 5, "tn": 64 * 64 - 5}
        if false_positives:
            row |= {"false_positives": n % 4, "max_probability": 0.5}
    return results.with_metrics(rows)


def comparison_of(folder: Path, rows: list[dict[str, Any]], *more_columns: str) -> Comparison:
    write_run(folder, rows, more_columns=more_columns)
    return Comparison(align_runs([read_run(RunFolder(folder))]), n_resamples=200, confidence_level=0.95, seed=0)


def test_false_positives_are_those_of_the_images_without_a_mass(tmp_path: Path) -> None:
    rows = rows_with_negatives(10, false_positives=True)
    comparison = comparison_of(tmp_path / "a", rows, *results.NEGATIVE_COLUMNS)
    expected = np.mean([n % 4 for n in range(10)])
    section = evaluation_section(comparison)
    assert " 10 of the 24 test images contain no mass.\n\n" in section
    assert f"| false positives per image without a mass | {expected:.2f} |" in section
    unknown = comparison_of(tmp_path / "b", rows_with_negatives(10, false_positives=False))
    assert evaluation_section(unknown).endswith("the number of false positives in them is unknown.")
    no_negatives = comparison_of(tmp_path / "c", rows_with_negatives(0, False))
    assert "do not show false positives" in evaluation_section(no_negatives)


def test_the_size_groups_contain_the_images_with_a_mass(tmp_path: Path) -> None:
    section = evaluation_section(comparison_of(tmp_path / "a", rows_with_negatives(10, false_positives=False)))
    table = section.partition("| mass pixels | n |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(table) > 2
    assert sum(int(line.split("|")[2]) for line in table) == 14


def config(name: str, **reader: Any) -> dict[str, Any]:
    return {"dataset": {"name": name, "reader": reader}}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (config("cbis_ddsm"), "cc-by-3.0"),
        (config("mine", _target_="mammoseg.data.readers.cbis_ddsm.read"), "cc-by-3.0"),
        (config("phantom", _target_="mammoseg.data.readers.inbreast.read"), "apache-2.0"),
        (config("inbreast"), "unknown"),
        (config("clinic", _target_="mammoseg.data.readers.image_folder.read"), "unknown"),
        (config("union", sources={"cbis_ddsm": {"folder": "x"}, "phantom": {}}), "unknown"),
        (config("union", sources={"cbis_ddsm": {}, "b": {"reader": {"_target_": CBIS_DDSM.title}}}), "unknown"),
    ],
)
def test_the_license_is_that_of_the_training_data(section: dict[str, Any], expected: str) -> None:
    assert common_license(find_datasets(section)) == expected


def test_every_dataset_of_a_union_is_credited() -> None:
    reader = {"_target_": "mammoseg.data.readers.inbreast.read"}
    section = config("union", sources={"cbis_ddsm": {}, "b": {"reader": reader}, "clinic": {}})
    datasets = find_datasets(section)
    assert datasets[:2] == [CBIS_DDSM, INBREAST]
    assert "10.7937/K9/TCIA.2016.7O02S9CY" in datasets[0].credit
    assert "Academic Radiology" in datasets[1].credit
    assert "dataset clinic" in datasets[2].credit
    assert {dataset.acquisition for dataset in datasets} == {"film", "digital", ""}


def test_false_positives_are_a_limitation_only_without_training_on_normal_images() -> None:
    limitation = "expect false positives on normal mammograms"
    assert limitation in limitations_section(config("cbis_ddsm"))
    with_negatives = config("cbis_ddsm")
    with_negatives["dataset"]["negatives"] = "all"
    assert limitation not in limitations_section(with_negatives)
    assert "synthetic" in limitations_section(config("phantom"))


@pytest.mark.parametrize(
    ("precision", "stated"), [("bf16-mixed", True), ("32-true", False), (32, False), ("32", False), (None, False)]
)
def test_the_precision_of_the_results_is_stated_unless_it_is_that_of_predict(
    precision: str | int | None, stated: bool, tmp_path: Path
) -> None:
    weights = StoredWeights(parameters=1, file_size=1, sha256="", half_precision=False)
    settings = {"trainer": None if precision is None else {"precision": precision}}
    comparison = comparison_of(tmp_path / "a", rows_with_negatives(0, False))
    sections = evaluation_sections(settings, comparison, weights, [])
    assert (f"trainer.precision={precision}" in sections["Evaluation"]) == stated
    assert evaluation_sections(settings, "No results.", weights, []) == {"Evaluation": "No results."}
