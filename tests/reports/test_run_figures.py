"""Figures of a run drawn from its stored predictions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mammoseg.data.store import PreparedStore
from mammoseg.metrics import quantise_probs
from mammoseg.reports.run_figures import plot_overlays, select_examples
from mammoseg.runs.predictions import Predictions
from mammoseg.runs.results import with_metrics

CASES = ["a", "b", "c", "d"]  # "d" is not in the test set
TRUE_POSITIVES = {"a": 10, "b": 90, "c": 50}  # c has the median DSC


def predictions(threshold: float) -> tuple[Predictions, NDArray[np.float64]]:
    """Stored predictions, and the exact probabilities from which they were made."""
    logits = 3 * torch.randn(3, 1, 20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    prob = torch.sigmoid(logits)[:, 0].numpy()
    cutoff = float(torch.logit(torch.tensor(threshold, dtype=torch.float64)))
    masks = (logits[:, 0] > cutoff).numpy()
    return Predictions(["c", "a", "b"], masks, quantise_probs(logits)[:, 0].numpy(), threshold), prob


def rows() -> list[dict[str, Any]]:
    counts = {case: {"tp": tp, "fp": 50, "fn": 50, "tn": 9} for case, tp in TRUE_POSITIVES.items()}
    return with_metrics([{"case": case, "density": 2, **counts[case]} for case in TRUE_POSITIVES])


@pytest.fixture
def store() -> PreparedStore:
    images = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((4, 20, 20), np.float32)
    masks = np.zeros((4, 20, 20), np.uint8)
    masks[:, 4:9, 4:9] = 1
    return cast(
        PreparedStore, SimpleNamespace(cases=[SimpleNamespace(case=case) for case in CASES], images=images, masks=masks)
    )


@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.123, 0.77])
def test_the_median_image_is_selected_with_its_stored_prediction(store: PreparedStore, threshold: float) -> None:
    stored, prob = predictions(threshold)
    (example,) = select_examples(rows(), stored, store)
    assert example.row["case"] == "c"
    assert (example.image == 2).all()
    np.testing.assert_array_equal(example.prob > example.threshold, stored.masks[0])
    np.testing.assert_allclose(example.prob, prob[0], atol=1 / 256)
    assert example.threshold == pytest.approx(threshold, rel=1e-6)


def test_stored_predictions_without_probabilities_are_supported(store: PreparedStore) -> None:
    stored, _ = predictions(0.5)
    (example,) = select_examples(rows(), Predictions(stored.cases, stored.masks, None, None), store)
    np.testing.assert_array_equal(example.prob > example.threshold, stored.masks[0])


def test_overlays_are_written(store: PreparedStore, tmp_path: Path) -> None:
    stored, _ = predictions(0.5)
    plot_overlays(select_examples(rows(), stored, store), tmp_path / "overlays.png")
    assert (tmp_path / "overlays.png").stat().st_size > 5000


def test_the_titles_of_overlays_name_the_images(store: PreparedStore, tmp_path: Path) -> None:
    stored, _ = predictions(0.5)
    masses = rows()
    normals = [{**row, "tp": 0, "fn": 0, "max_probability": 0.5} for row in masses]
    titles = {
        "ACR 2, median of 3 images": masses,
        "ACR 2, the better of 2 images": masses[:2],
        "ACR 2, the only image": masses[:1],
        "no mass (ACR 2), highest of 3": normals,
    }
    for title, tested in titles.items():
        plot_overlays(select_examples(tested, stored, store), tmp_path / "overlays.svg")
        assert title in (tmp_path / "overlays.svg").read_text()


def test_run_figures_does_not_import_the_segmenter() -> None:
    code = "import sys, mammoseg.reports.run_figures; sys.exit('mammoseg.segmenter' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_most_suspicious_image_without_a_mass_is_the_last_example(store: PreparedStore, tmp_path: Path) -> None:
    stored, _ = predictions(0.5)
    images = rows()
    for case, probability in (("b", 0.4), ("c", 0.7)):
        image = next(image for image in images if image["case"] == case)
        image |= {"tp": 0, "fn": 0, "dsc": float("nan"), "max_probability": probability}
    examples = select_examples(images, stored, store)
    assert [example.row["case"] for example in examples] == ["a", "c"]
    assert examples[0].outcome.startswith("DSC 16.67 %")
    assert examples[1].outcome == f"highest probability {examples[1].prob.max():.2f}"
    plot_overlays(examples, tmp_path / "overlays.png")
    assert (tmp_path / "overlays.png").is_file()
