"""Further evaluations in the model card: values, and rejection of results of other checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.results_files import rows_of
from mammoseg.errors import UserError
from mammoseg.export.further_evaluations import (
    ExportedCheckpoint,
    further_evaluations_section,
    read_further_evaluations,
)
from mammoseg.runs import results
from mammoseg.runs.discovery import read_run
from mammoseg.runs.folder import RunFolder
from mammoseg.statistics.alignment import align_runs
from mammoseg.statistics.comparison import Comparison

RUN_INFO = {"run": "a--0", "fold": "", "seed": 0}
DIGEST = "0" * 64
EXPORTED = ExportedCheckpoint(Path("run/checkpoints/best.ckpt"), RUN_INFO, ("1" * 64, DIGEST))
OPTIONS: dict[str, Any] = {"part": "all", "threshold": 0.4, "tta": True, "checkpoints": [DIGEST]}


def write_evaluation(
    folder: Path,
    rows: list[dict[str, Any]],
    evaluation: Mapping[str, Any] | None = OPTIONS,
    run_info: Mapping[str, Any] = RUN_INFO,
    status: str = "evaluated",
) -> Path:
    """Write an output folder of `mammoseg.evaluate`."""
    folder.mkdir()
    more = [name for name in ("trained_on", "part", "seen", *results.NEGATIVE_COLUMNS) if name in rows[0]]
    results.write_results(folder / "results.csv", rows, more)
    record = {"run_info": dict(run_info), "settings": {"threshold": 0.5}, "status": status, "format": 2}
    (folder / "run.json").write_text(json.dumps({**record, "evaluation": evaluation}))
    return folder


def rows_on(dataset: str, n_negative: int, seen: str = "no") -> list[dict[str, Any]]:
    rows = rows_of("a", quality=0.6, images=24, dataset=dataset)
    for n, row in enumerate(rows):
        row |= {"trained_on": "phantom", "part": "all", "seen": seen, "false_positives": n % 4, "max_probability": 0.5}
        if n < n_negative:
            fp = 5 * (n % 2)
            row |= {"tp": 0, "fn": 0, "fp": fp, "tn": 64 * 64 - fp}
    return results.with_metrics(rows)


def test_the_values_are_those_of_the_results(tmp_path: Path) -> None:
    rows = rows_on("clinic", n_negative=10)
    folder = write_evaluation(tmp_path / "a", rows)
    (evaluation,) = read_further_evaluations([folder], EXPORTED)
    estimate = Comparison(align_runs([read_run(RunFolder(folder))]), 5000, 0.95, 0).overall["a"]["dsc"]
    counts = np.sum([[row["tp"], row["fp"], row["fn"]] for row in rows], axis=0)
    dsc = 200 * counts[0] / (2 * counts[0] + counts[1] + counts[2])
    assert evaluation.metadata() == {
        "dataset": "clinic",
        "part": "all",
        "threshold": 0.4,
        "tta": True,
        "resolution": "network input",
        "n": 24,
        "n_without_mass": 10,
        "dsc": pytest.approx(dsc, abs=0.005),
        "dsc_low": pytest.approx(100 * estimate.low, abs=0.005),
        "dsc_high": pytest.approx(100 * estimate.high, abs=0.005),
        "specificity": 50.0,
        "false_positives_per_negative": pytest.approx(np.mean([n % 4 for n in range(10)]), abs=0.005),
    }
    section = further_evaluations_section([evaluation])
    row = f"{dsc:.2f} [{100 * estimate.low:.2f}, {100 * estimate.high:.2f}] | 50.00 | 1.30 |"
    assert f"| clinic | all | threshold 0.4, test-time augmentation | 24 | 10 | {row}" in section
    assert "not independent" not in section


def test_undefined_values_are_dashes(tmp_path: Path) -> None:
    without_mass = write_evaluation(tmp_path / "a", rows_on("phantoms", n_negative=24))
    with_mass = write_evaluation(tmp_path / "b", rows_on("clinic", n_negative=0, seen="train"))
    evaluations = read_further_evaluations([without_mass, with_mass], EXPORTED)
    section = further_evaluations_section(evaluations)
    assert "| phantoms | all | threshold 0.4, test-time augmentation | 24 | 24 | – | 50.00 | 1.50 |" in section
    assert "] | – | – |" in section
    assert section.endswith(
        "clinic (all): 24 of the 24 test images are not independent of the training (24 in the training part), so the "
        "results are optimistic."
    )
    assert [row.metadata()["dsc"] is None for row in evaluations] == [True, False]
    assert [row.metadata()["specificity"] is None for row in evaluations] == [False, True]


def test_native_resolution_is_a_row_of_its_own(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "a", rows_of("a", quality=0.6), evaluation=None)
    native = rows_of("a", quality=0.9)
    results.write_results(folder / results.NATIVE_FILE, native)
    evaluations = read_further_evaluations([folder], EXPORTED)
    assert [(row.part, row.options) for row in evaluations] == [
        ("test", "threshold 0.5"),
        ("test", "threshold 0.5, native resolution"),
    ]
    pooled = [results.pooled_metrics(rows)["dsc"] for rows in (rows_of("a", quality=0.6), native)]
    assert [row.metadata()["dsc"] for row in evaluations] == pytest.approx([100 * dsc for dsc in pooled], abs=0.005)


@pytest.mark.parametrize(
    ("evaluation", "run_info"),
    [
        ({**OPTIONS, "checkpoints": ["2" * 64]}, RUN_INFO),
        ({**OPTIONS, "checkpoints": [DIGEST, "2" * 64]}, RUN_INFO),
        ({**OPTIONS, "checkpoints": None}, RUN_INFO),
        ({"part": "test", "masks_only": True}, RUN_INFO),
        (None, {**RUN_INFO, "run": "b--0"}),
        (None, {**RUN_INFO, "seed": 1}),
        (None, {**RUN_INFO, "fold": 3}),
    ],
)
def test_results_of_another_checkpoint_are_rejected(
    tmp_path: Path, evaluation: dict[str, Any] | None, run_info: dict[str, Any]
) -> None:
    folder = write_evaluation(tmp_path / "a", rows_of("a", quality=0.6), evaluation, run_info)
    with pytest.raises(UserError, match=r"the results of run/checkpoints/best\.ckpt alone, got those of"):
        read_further_evaluations([folder], EXPORTED)


def test_folders_of_other_commands_are_rejected(tmp_path: Path) -> None:
    trained = write_evaluation(tmp_path / "a", rows_of("a", quality=0.6), None, status="finished")
    detection_only = write_evaluation(tmp_path / "b", rows_of("a", quality=0.6))
    (detection_only / "results.csv").unlink()
    for folder in (trained, detection_only, tmp_path / "absent"):
        with pytest.raises(UserError, match=r"must be an output folder of mammoseg\.evaluate with results\.csv"):
            read_further_evaluations([folder], EXPORTED)


@pytest.mark.parametrize("change", [{"part": "<b>"}, {"threshold": "0.5"}])
def test_damaged_records_are_rejected(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = write_evaluation(tmp_path / "a", rows_of("a", quality=0.6), {**OPTIONS, **change})
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        read_further_evaluations([folder], EXPORTED)
