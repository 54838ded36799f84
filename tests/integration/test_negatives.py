"""Images without a mass from training to the viewer, and the experiments of the paper, which do not use them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from helpers.commands import run, succeed
from mammoseg.conf import conf_dir
from mammoseg.export.card_metadata import StoredWeights
from mammoseg.export.model_card import make_model_card
from mammoseg.reports.run_summary import format_auc
from mammoseg.runs import results
from mammoseg.runs.checked_results import read_rows
from mammoseg.runs.checkpoint import PROVENANCE_KEY, load_checkpoint
from mammoseg.runs.predictions import read_detections, read_predictions
from mammoseg.statistics.negative_outcomes import outcomes_of_rows

DATA = ["dataset=phantom_negatives", "dataset.source.cases=20", "dataset.source.height=128", "dataset.size=32"]
TRAINING = ["model.width=2", "epochs=2", "split.folds=2", "trainer.accelerator=cpu", "logger=csv"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a run on images with and without a mass."""
    folder = tmp_path_factory.mktemp("user-workdir")
    succeed("train", *DATA, *TRAINING, "sampler=negative_fraction", "hydra.run.dir=run", folder=folder)
    return folder


def test_results_and_predictions_contain_the_images_without_a_mass(workdir: Path) -> None:
    rows = read_rows(workdir / "run" / "results.csv")
    negatives = [row for row in rows if not results.has_mass(row)]
    assert len(rows) == pytest.approx(10, abs=2), "a quarter of 40 images"
    assert len(negatives) == pytest.approx(5, abs=2)
    assert {row["density"] for row in negatives} <= {1, 2, 3, 4}
    assert list(rows[0])[-2:] == list(results.NEGATIVE_COLUMNS)
    stored = read_predictions(workdir / "run" / "predictions.npz")
    assert stored.cases == [row["case"] for row in rows]
    assert stored.quantised_probs is not None
    highest = stored.quantised_probs.max(axis=(1, 2))
    np.testing.assert_allclose(highest, [256 * row["max_probability"] for row in rows], atol=1)
    detections = read_detections(workdir / "run" / "detection.csv")
    assert [row.false_positives for row in detections] == [row["false_positives"] for row in rows]
    assert [row.masses > 0 for row in detections] == [results.has_mass(row) for row in rows]


def test_the_logged_mean_is_that_of_the_images_with_a_mass(workdir: Path) -> None:
    rows = read_rows(workdir / "run" / "results.csv")
    with (workdir / "run" / "metrics.csv").open() as lines:
        logged = list(csv.DictReader(lines))[-1]
    for name, value in results.mean_image_metrics([row for row in rows if results.has_mass(row)]).items():
        assert float(logged[f"test/image_{name}"]) == pytest.approx(value, rel=1e-6)


def test_evaluate_reproduces_the_results_and_counts_false_positives_on_negatives(workdir: Path) -> None:
    output = succeed("evaluate", "ckpt_path=run", "native=true", "hydra.run.dir=evaluation", folder=workdir)
    assert "identical to the results of the training run" in output
    summary = (workdir / "evaluation" / "summary.md").read_text()
    assert summary.startswith((workdir / "run" / "summary.md").read_text())
    n_negatives = sum(not results.has_mass(row) for row in read_rows(workdir / "run" / "results.csv"))
    assert "False positives are counted on the test images without a mass only" in summary
    assert f"\n| all | {n_negatives} | " in summary


def test_another_selection_of_negatives_does_not_change_the_test_images_with_a_mass(workdir: Path) -> None:
    """The split of the training is kept; splitting the images again would test images of the training."""
    arguments = [*DATA, "dataset.negatives=none", "hydra.run.dir=masses"]
    output = succeed("evaluate", "ckpt_path=run", *arguments, folder=workdir)
    assert "not independent" not in output
    tested, masses = (read_rows(workdir / folder / "results.csv") for folder in ("run", "masses"))
    counts = [{row["case"]: [row[name] for name in results.COUNTS] for row in rows} for rows in (tested, masses)]
    assert counts[1] == {row["case"]: counts[0][row["case"]] for row in tested if results.has_mass(row)}


def test_compare_reports_the_outcomes_for_negatives(workdir: Path) -> None:
    succeed("compare", "runs=run", "output=comparison", "resamples=200", folder=workdir)
    outcomes = outcomes_of_rows(read_rows(workdir / "run" / "results.csv"))
    with (workdir / "comparison" / "negatives.csv").open() as lines:
        (row,) = csv.DictReader(lines)
    assert float(row["specificity"]) == pytest.approx(100 * outcomes.specificity, abs=0.01)
    assert row["image_auc"].startswith(f"{outcomes.image_auc.value:.3f}")
    assert "**Images without a mass**" in (workdir / "comparison" / "report.md").read_text()
    assert (workdir / "comparison" / "figure2.png").is_file()


def test_the_model_card_contains_the_outcomes_for_negatives(workdir: Path) -> None:
    path = workdir / "run" / "checkpoints" / "best.ckpt"
    weights = StoredWeights(parameters=1, file_size=1, sha256="0", half_precision=False)
    card = make_model_card(load_checkpoint(path)[PROVENANCE_KEY], weights, path, onnx=False, license_name=None)
    outcomes = outcomes_of_rows(read_rows(workdir / "run" / "results.csv"))
    assert f"| AUC of the images [95 % CI] | {format_auc(outcomes.image_auc)} |" in card
    assert f"| AUC of the patients [95 % CI] | {format_auc(outcomes.patient_auc)} |" in card
    assert f"| specificity, in % | {100 * outcomes.specificity:.2f} |" in card
    assert "trained on images with and without a mass" in card
    assert "trained on images that contain a mass" not in card


def test_the_viewer_labels_images_without_a_mass(workdir: Path) -> None:
    succeed("view", "runs=run", "output=viewer", "open=false", folder=workdir)
    rows = read_rows(workdir / "run" / "results.csv")
    page = (workdir / "viewer" / "index.html").read_text()
    assert page.count('"no mass"') == sum(not results.has_mass(row) for row in rows)


def test_another_selection_of_negatives_is_another_method(workdir: Path) -> None:
    completed = run("train", *DATA, *TRAINING, "dataset.negatives=0.5", "hydra.run.dir=run", folder=workdir)
    assert completed.returncode == 2
    assert "dataset.negatives" in completed.stderr


@pytest.mark.parametrize("experiment", ["table1", "table2"])
def test_the_experiments_of_the_paper_use_images_with_a_mass_only(experiment: str) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [f"experiment={experiment}"])
    assert cfg.dataset.negatives == "none"
    assert cfg.sampler is None
