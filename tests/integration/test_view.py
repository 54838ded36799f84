"""A trained run, tested again, and both looked at by the real command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_train import SMALL, command, succeed

from mammoseg import results


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place-of-the-user")


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    succeed("train", *SMALL, "trainer.max_epochs=2", "logger=csv", "hydra.run.dir=outputs/first", folder=place)
    return place / "outputs" / "first"


def test_a_run_and_its_evaluation_are_found_with_their_images(run: Path, place: Path) -> None:
    again = "outputs/evaluate/again"
    succeed("evaluate", "ckpt=outputs/first/checkpoints/best.ckpt", f"hydra.run.dir={again}", folder=place)
    said = succeed("view", "runs=outputs", folder=place)
    assert "written to outputs/viewer/index.html" in said
    page = (place / "outputs" / "viewer" / "index.html").read_text()
    told = json.loads(page.split('id="catalogue">')[1].split("</script>")[0])
    assert [one["label"].split(" ")[1] for one in told["runs"]] == ["(evaluate/again)", "(first)"]
    assert len(told["images"]) == len(results.read(run / "results.csv"))
    assert "place-of-the-user" not in page
    first, second = (results.read_predictions(folder / "predictions.npz") for folder in (run, place / again))
    assert first.levels is not None
    assert second.levels is not None
    np.testing.assert_array_equal(first.levels, second.levels)
    np.testing.assert_array_equal(first.masks, first.levels > 127)
    assert first.threshold == 0.5


def test_predictions_for_files_are_shown_with_their_mammograms(run: Path, place: Path) -> None:
    films = next(path for path in (place / "data").rglob("AllDICOMs"))
    succeed("predict", f"ckpt={run}/checkpoints/best.ckpt", f"input={films}", "output=found", folder=place)
    succeed("view", "predictions=found", f"input={films}", folder=place)
    page = (place / "found" / "viewer" / "index.html").read_text()
    told = json.loads(page.split('id="catalogue">')[1].split("</script>")[0])
    assert [image["name"] for image in told["images"]] == sorted(path.name for path in films.glob("*.dcm"))
    assert "place-of-the-user" not in page
    assert not told["truth"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either runs="),
        (["runs=outputs", "predictions=outputs"], "either runs="),
        (["runs=nowhere"], "no such folder"),
        (["predictions=outputs/first"], "has no predictions.json; give the output folder of mammoseg.predict"),
        (["runs=outputs/first", "store=outputs"], "say where they are with store=<folder>"),
    ],
)
def test_mistakes_end_in_one_sentence(run: Path, place: Path, arguments: list[str], said: str) -> None:
    done = command("view", *arguments, folder=place)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (run / "viewer").exists()
