"""Evaluate a trained run, by default and at native resolution, and view it, with the commands."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import run, run_process, succeed
from mammoseg.data.images.read import read_image
from mammoseg.data.store import PreparedStore
from mammoseg.evaluate.native_resolution import read_native_results
from mammoseg.runs import results
from mammoseg.runs.predictions import read_predictions


@pytest.fixture(scope="module")
def workdir(trained: Path) -> Path:
    """The working directory of the training."""
    return trained.parent


def test_view_shows_a_run_and_its_evaluation(trained: Path, workdir: Path) -> None:
    succeed("evaluate", "ckpt_path=run/checkpoints/best.ckpt", "hydra.run.dir=evaluate/test", folder=workdir)
    output = succeed("view", "runs=[evaluate,run]", folder=workdir)
    assert "written to evaluate/viewer/index.html" in output
    page = (workdir / "evaluate" / "viewer" / "index.html").read_text()
    catalogue = json.loads(page.split('id="catalogue">')[1].split("</script>")[0])
    assert [entry["label"].split(" ")[1] for entry in catalogue["runs"]] == ["(test)", "(run)"]
    assert len(catalogue["images"]) == len(results.read_results(trained / "results.csv"))
    assert str(workdir) not in page
    first, second = (
        read_predictions(folder / "predictions.npz") for folder in (trained, workdir / "evaluate" / "test")
    )
    assert first.quantised_probs is not None
    assert second.quantised_probs is not None
    np.testing.assert_array_equal(first.quantised_probs, second.quantised_probs)
    np.testing.assert_array_equal(first.masks, first.quantised_probs > 127)
    assert first.threshold == 0.5


def test_native_results_match_predicted_masks_and_original_outlines(trained: Path, workdir: Path) -> None:
    folder, mammograms = workdir / "native", next((workdir / "data").rglob("AllDICOMs"))
    checkpoint = "ckpt_path=run/checkpoints/best.ckpt"
    succeed("evaluate", checkpoint, "native=true", f"hydra.run.dir={folder}", folder=workdir)
    succeed(
        "predict",
        checkpoint,
        f"input={mammograms}",
        "output=masks",
        "segmentation=none",
        "min_area_mm2=0",
        folder=workdir,
    )
    rows, candidates = read_native_results(folder)
    store = PreparedStore.open(next((workdir / "data" / "prepared").glob("phantom-*")))
    cases = {case.case: case for case in store.cases}
    assert [row["case"] for row in rows] == [row["case"] for row in results.read_results(trained / "results.csv")]
    for row in rows:
        case = cases[row["case"]]
        (file,) = (workdir / "masks" / "masks").glob(f"{row['case']}_*.png")
        mask_pred = read_image(file)[0] > 0
        assert mask_pred.shape == (int(row["height"]), int(row["width"])) == (case.height, case.width)
        # `predict` removes masses outside the segmented breast.
        assert row["tp"] + row["fp"] >= mask_pred.sum()
        assert row["tp"] + row["fn"] == case.mass_area
        assert row["tn"] + row["fp"] == case.height * case.width - case.mass_area
        assert sum(candidate.area for candidate in candidates[row["case"]]) == row["tp"] + row["fp"]
        assert (row["unit"], row["masses"] >= 1) == ("mm", True)
        assert math.isnan(row["hd95"]) == (row["tp"] + row["fp"] == 0)
    summary = (folder / "summary.md").read_text()
    assert "Results at native resolution" in summary
    assert "Distances between predicted and true outlines, in mm" in summary
    assert (folder / "froc.png").is_file()
    assert str(workdir) not in "".join(path.read_text() for path in folder.glob("*.csv")) + summary


def test_view_shows_predictions_with_their_mammograms(trained: Path, workdir: Path) -> None:
    mammograms = next((workdir / "data").rglob("AllDICOMs"))
    succeed(
        "predict", "ckpt_path=run/checkpoints/best.ckpt", f"input={mammograms}", "output=predictions", folder=workdir
    )
    browser = workdir / "browser.sh"
    browser.write_text(f'#!/bin/sh\necho "$1" > {workdir}/opened\n')
    browser.chmod(0o755)
    arguments = ("predictions=predictions", f"input={mammograms}", "open=true")
    process = run_process("view", *arguments, folder=workdir, variables={"BROWSER": str(browser)})
    assert process.returncode == 0, process.stderr
    assert (workdir / "opened").read_text().strip() == (workdir / "predictions" / "viewer" / "index.html").as_uri()
    page = (workdir / "predictions" / "viewer" / "index.html").read_text()
    catalogue = json.loads(page.split('id="catalogue">')[1].split("</script>")[0])
    assert [image["name"] for image in catalogue["images"]] == sorted(path.name for path in mammograms.glob("*.dcm"))
    assert str(workdir) not in page
    assert not catalogue.get("has_truth")
    process = run_process("view", *arguments, folder=workdir, variables={"BROWSER": "false", "PATH": "", "DISPLAY": ""})
    assert process.returncode == 0, process.stderr
    assert "no browser was found" in process.stderr


def test_an_invalid_matching_rule_is_rejected_before_the_evaluation(workdir: Path) -> None:
    settings = [
        "ckpt_path=run/checkpoints/best.ckpt",
        "native=true",
        "detection.matching=center",
        "hydra.run.dir=invalid",
    ]
    process = run("evaluate", *settings, folder=workdir)
    assert process.returncode == 2
    assert "detection.matching must be one of centre, iou, got center" in process.stderr
    assert not (workdir / "invalid" / "results.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "runs="),
        (["runs=run", "predictions=run"], "got both"),
        (["runs=nowhere"], "no such folder"),
        (["predictions=run"], "predictions.json"),
        (["runs=run", "dataset.store=native"], "set dataset.store=<folder>"),
    ],
)
def test_invalid_settings_are_reported(trained: Path, workdir: Path, arguments: list[str], message: str) -> None:
    process = run("view", *arguments, folder=workdir)
    assert process.returncode == 2
    assert message in process.stderr
    assert not (trained / "viewer").exists()
