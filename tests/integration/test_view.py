"""Evaluate a trained run, at native resolution as well, and view it, by the real commands."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from commands import command, succeed

from mammoseg.data.images.read import read_image
from mammoseg.data.store import PreparedStore
from mammoseg.evaluate.native_resolution import read_native_results
from mammoseg.runs import results
from mammoseg.runs.predictions import read_predictions


@pytest.fixture(scope="module")
def place(trained: Path) -> Path:
    return trained.parent


def test_a_run_and_its_evaluation_are_found_with_their_images(trained: Path, place: Path) -> None:
    succeed("evaluate", "ckpt_path=run/checkpoints/best.ckpt", "hydra.run.dir=evaluate/again", folder=place)
    said = succeed("view", "runs=[evaluate,run]", folder=place)
    assert "written to evaluate/viewer/index.html" in said
    page = (place / "evaluate" / "viewer" / "index.html").read_text()
    told = json.loads(page.split('id="catalogue">')[1].split("</script>")[0])
    assert [one["label"].split(" ")[1] for one in told["runs"]] == ["(again)", "(run)"]
    assert len(told["images"]) == len(results.read_results(trained / "results.csv"))
    assert str(place) not in page
    first, second = (read_predictions(folder / "predictions.npz") for folder in (trained, place / "evaluate" / "again"))
    assert first.quantised_probs is not None
    assert second.quantised_probs is not None
    np.testing.assert_array_equal(first.quantised_probs, second.quantised_probs)
    np.testing.assert_array_equal(first.masks, first.quantised_probs > 127)
    assert first.threshold == 0.5


def test_native_results_equal_those_of_predicted_masks_and_original_outlines(trained: Path, place: Path) -> None:
    folder, films = place / "native", next((place / "data").rglob("AllDICOMs"))
    checkpoint = "ckpt_path=run/checkpoints/best.ckpt"
    succeed("evaluate", checkpoint, "native=true", f"hydra.run.dir={folder}", folder=place)
    succeed("predict", checkpoint, f"input={films}", "output=masks", "segmentation=none", folder=place)
    rows, candidates = read_native_results(folder)
    store = PreparedStore.open(next((place / "data" / "prepared").glob("phantom-*")))
    cases = {case.case: case for case in store.cases}
    assert [row["case"] for row in rows] == [row["case"] for row in results.read_results(trained / "results.csv")]
    for row in rows:
        case = cases[row["case"]]
        (file,) = (place / "masks" / "masks").glob(f"{row['case']}_*.png")
        mask_pred = read_image(file)[0] > 0
        assert mask_pred.shape == (int(row["height"]), int(row["width"])) == (case.height, case.width)
        assert row["tp"] + row["fp"] == mask_pred.sum()
        assert row["tp"] + row["fn"] == case.mass_area
        assert row["tn"] + row["fp"] == case.height * case.width - case.mass_area
        assert sum(candidate.area for candidate in candidates[row["case"]]) == mask_pred.sum()
        assert (row["unit"], row["masses"] >= 1) == ("mm", True)
        assert math.isnan(row["hd95"]) == (not mask_pred.any())
    summary = (folder / "summary.md").read_text()
    assert "Results at native resolution" in summary
    assert "Distances between predicted and true outlines, in mm" in summary
    assert (folder / "froc.png").is_file()
    assert str(place) not in "".join(path.read_text() for path in folder.glob("*.csv")) + summary


def test_predictions_for_files_are_shown_with_their_mammograms(trained: Path, place: Path) -> None:
    films = next((place / "data").rglob("AllDICOMs"))
    succeed("predict", "ckpt_path=run/checkpoints/best.ckpt", f"input={films}", "output=found", folder=place)
    browser = place / "browser.sh"
    browser.write_text(f'#!/bin/sh\necho "$1" > {place}/opened\n')
    browser.chmod(0o755)
    done = command("view", "predictions=found", f"input={films}", "open=true", folder=place, BROWSER=str(browser))
    assert done.returncode == 0, done.stderr
    assert (place / "opened").read_text().strip() == (place / "found" / "viewer" / "index.html").as_uri()
    page = (place / "found" / "viewer" / "index.html").read_text()
    told = json.loads(page.split('id="catalogue">')[1].split("</script>")[0])
    assert [image["name"] for image in told["images"]] == sorted(path.name for path in films.glob("*.dcm"))
    assert str(place) not in page
    assert not told["truth"]


def test_an_invalid_matching_rule_is_rejected_before_the_evaluation(place: Path) -> None:
    settings = [
        "ckpt_path=run/checkpoints/best.ckpt",
        "native=true",
        "detection.matching=center",
        "hydra.run.dir=wrong",
    ]
    process = command("evaluate", *settings, folder=place)
    assert process.returncode == 2
    assert "detection.matching must be one of centre, iou, got center; did you mean centre?" in process.stderr
    assert not (place / "wrong" / "results.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "is required, got runs="),
        (["runs=run", "predictions=run"], "is required, got runs="),
        (["runs=nowhere"], "no such folder"),
        (["predictions=run"], "has no predictions.json; give the output folder of mammoseg.predict"),
        (["runs=run", "dataset.store=native"], "set dataset.store=<folder>"),
    ],
)
def test_mistakes_end_in_one_sentence(trained: Path, place: Path, arguments: list[str], said: str) -> None:
    done = command("view", *arguments, folder=place)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (trained / "viewer").exists()
