"""Views of run folders, and the files of the viewer."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from viewer_files import SyntheticRun, write_synthetic_run, write_synthetic_store

from mammoseg.errors import UserError
from mammoseg.files import TMP_PREFIX
from mammoseg.runs import results
from mammoseg.view.from_runs import load_run_views
from mammoseg.view.items import ViewerImage
from mammoseg.view.writer import write_files

CASES = ["a", "b", "<script>alert(1)</script>", "d", "e"]


@pytest.fixture
def runs(tmp_path: Path) -> list[SyntheticRun]:
    """Two runs in tmp_path/runs; the second was not tested on the first case. Their images are in tmp_path/prepared."""
    truths = write_synthetic_store(tmp_path / "prepared" / "phantom-1", CASES)
    write_synthetic_store(tmp_path / "prepared" / "phantom-0", CASES, seed=9)  # not the images of these runs
    first = write_synthetic_run(tmp_path / "runs" / "one", CASES, truths, seed=1)
    second = write_synthetic_run(tmp_path / "runs" / "two", CASES[1:], truths[1:], seed=2, threshold=0.3)
    return [first, second]


def read_data(viewer: Path, name: str) -> Any:
    """Content of a data file."""
    text = (viewer / "data" / f"{name}.js").read_text()
    prefix = f'mammoseg.receive("{name}",'
    assert text.startswith(prefix)
    return json.loads(text.removeprefix(prefix).removesuffix(");\n"))


def decode(data_uri: str) -> NDArray[np.uint8]:
    """Image of a data URI."""
    encoded = np.frombuffer(base64.b64decode(data_uri.split(",")[1]), np.uint8)
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


def read_catalogue(viewer: Path) -> Any:
    """Catalogue of runs and images in the page."""
    page = (viewer / "index.html").read_text()
    return json.loads(page.split('id="catalogue">')[1].split("</script>")[0])


def test_data_files_equal_the_predictions_and_results_of_the_runs(runs: list[SyntheticRun], tmp_path: Path) -> None:
    viewer = write_files(load_run_views([tmp_path / "runs"], tmp_path / "prepared"), tmp_path / "viewer").parent
    catalogue = read_catalogue(viewer)
    assert [image["name"] for image in catalogue["images"]] == CASES  # images of several runs are stored once
    for run_index, run in enumerate(runs):
        data = read_data(viewer, f"run-{run_index}")
        assert catalogue["runs"][run_index]["threshold_level"] == round(256 * run.threshold)
        result_rows = {row["case"]: row for row in results.read_results(run.folder / "results.csv")}
        for i, (image_index, *counts) in enumerate(data["rows"]):
            case = catalogue["images"][image_index]["name"]
            assert counts == [result_rows[case][name] for name in results.COUNTS]
            images = read_data(viewer, f"run-{run_index}-{image_index}")
            np.testing.assert_array_equal(decode(images["levels"]), run.levels[i])
            np.testing.assert_array_equal(decode(images["mask"]) > 0, run.levels[i] >= 256 * run.threshold)
            truth = decode(read_data(viewer, f"image-{image_index}")["truth"]) > 0
            np.testing.assert_array_equal(truth, run.truths[i])
            for level in (1, 77, 128, 255):
                pred = run.levels[i] >= level
                assert sum(data["mass_histograms"][i][level:]) == (pred & truth).sum()
                assert sum(data["background_histograms"][i][level:]) == (pred & ~truth).sum()


def test_viewer_is_self_contained_and_has_no_private_information(runs: list[SyntheticRun], tmp_path: Path) -> None:
    viewer = write_files(load_run_views([tmp_path / "runs"], tmp_path / "prepared"), tmp_path / "viewer").parent
    page = (viewer / "index.html").read_text()
    assert "<script>alert" not in page
    assert "http" not in page
    all_text = page + "".join(path.read_text() for path in (viewer / "data").iterdir())
    assert "SECRET" not in all_text
    assert str(tmp_path) not in all_text
    assert tmp_path.name not in all_text
    assert {path.name for path in tmp_path.iterdir()} == {"prepared", "runs", "viewer"}


def test_runs_without_probabilities_are_shown_with_their_masks(tmp_path: Path) -> None:
    truths = write_synthetic_store(tmp_path / "prepared" / "phantom-1", CASES)
    write_synthetic_run(tmp_path / "old", CASES, truths, seed=1, masks_only=True)
    viewer = write_files(load_run_views([tmp_path / "old"], tmp_path / "prepared"), tmp_path / "viewer").parent
    (run,) = read_catalogue(viewer)["runs"]
    assert "mammoseg.evaluate" in run["note"]
    assert run["threshold_level"] is None
    assert read_data(viewer, "run-0")["background_histograms"] is None
    assert set(read_data(viewer, "run-0-0")) == {"mask"}


def test_runs_on_the_same_images_in_different_stores_are_compared(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The name of the store depends on dataset.root; its content does not."""
    views = []
    for i, seed in enumerate((0, 0, 5)):
        store, run = tmp_path / f"prepared{i}", tmp_path / f"run{i}"
        truths = write_synthetic_store(store / f"phantom-{i}", CASES, seed=seed)
        write_synthetic_run(run, CASES, truths, seed=i)
        views += load_run_views([run], store)
    with caplog.at_level(logging.WARNING):
        catalogue = read_catalogue(write_files(views, tmp_path / "viewer").parent)
    first, second, third = (run["image_indices"] for run in catalogue["runs"])
    assert first == second
    assert not set(first) & set(third)
    assert f"no other run was tested on the same prepared images: {views[2].label}" in caplog.text
    assert views[0].label not in caplog.text


def test_labels_of_runs_with_the_same_name_contain_the_relative_path(tmp_path: Path) -> None:
    truths = write_synthetic_store(tmp_path / "prepared" / "phantom-1", CASES)
    for name in ("x/one", "x/two", "y"):
        write_synthetic_run(tmp_path / name, CASES, truths, seed=1)
    labels = [view.label for view in load_run_views([tmp_path / "x", tmp_path / "y"], tmp_path / "prepared")]
    assert labels == ["phantom-m1 (one)", "phantom-m1 (two)", "phantom-m1 (y)"]


def test_missing_or_damaged_predictions_are_reported(
    runs: list[SyntheticRun], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UserError, match=r"one: the prepared images .* dataset.store=<folder>"):
        load_run_views([tmp_path / "runs"], tmp_path / "elsewhere")
    (runs[0].folder / "predictions.npz").unlink()
    with caplog.at_level(logging.WARNING):
        (view,) = load_run_views([tmp_path / "runs"], tmp_path / "prepared")
    assert "one skipped: it has no predictions.npz" in caplog.text
    assert view.label == "phantom-m2"
    (runs[1].folder / "predictions.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match=r"predictions.npz: damaged .* mammoseg.evaluate"):
        load_run_views([tmp_path / "runs"], tmp_path / "prepared")
    (runs[1].folder / "predictions.npz").unlink()
    with pytest.raises(UserError, match="no run in these folders has predictions"):
        load_run_views([tmp_path / "runs"], tmp_path / "prepared")


def test_predictions_must_contain_the_images_of_the_results(runs: list[SyntheticRun], tmp_path: Path) -> None:
    (runs[0].folder / "predictions.npz").write_bytes((runs[1].folder / "predictions.npz").read_bytes())
    with pytest.raises(UserError, match=r"every image of results\.csv; 1 missing, such as a"):
        load_run_views([tmp_path / "runs"], tmp_path / "prepared")


class FailingView:
    """Yields one image, then fails as on a full disk."""

    label, note, folder = "failing", "", Path()
    threshold: float | None = 0.5

    def __len__(self) -> int:
        return 2

    def items(self) -> Iterator[ViewerImage]:
        yield ViewerImage("k", "n", 0, "", "", "", None, None, np.zeros((4, 4), bool), None)
        raise OSError(28, "No space left on device")


def test_viewer_is_replaced_atomically(runs: list[SyntheticRun], tmp_path: Path) -> None:
    viewer = tmp_path / "viewer"
    views = load_run_views([tmp_path / "runs"], tmp_path / "prepared")
    write_files(views[1:], viewer)
    previous = {path.name: path.read_bytes() for path in (viewer / "data").iterdir()}
    with pytest.raises(OSError, match="No space"):
        write_files([FailingView()], viewer)
    assert {path.name: path.read_bytes() for path in (viewer / "data").iterdir()} == previous
    write_files(views[:1], viewer)
    assert len(list((viewer / "data").iterdir())) == 2 * len(CASES) + 1
    assert {path.name for path in tmp_path.iterdir()} == {"prepared", "runs", "viewer"}


def test_other_folders_are_not_overwritten(runs: list[SyntheticRun], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_text("another page")
    with pytest.raises(UserError, match=r"not a viewer; choose another folder with output="):
        write_files(load_run_views([tmp_path / "runs"], tmp_path / "prepared"), tmp_path / "other")
    assert (tmp_path / "other" / "index.html").read_text() == "another page"


def test_names_are_escaped_in_the_page(tmp_path: Path) -> None:
    malicious = "</script><img src=x onerror=alert(1)>{{ title }}'\""
    truths = write_synthetic_store(tmp_path / "prepared" / "phantom-1", [malicious])
    run = write_synthetic_run(tmp_path / "run", [malicious], truths, seed=1)
    (view,) = load_run_views([run.folder], tmp_path / "prepared")
    view.label = view.note = malicious
    viewer = write_files([view], tmp_path / "viewer").parent
    page = (viewer / "index.html").read_text()
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert page.count("{{ title }}") == 5, "label, note and name in the catalogue, title and heading"
    catalogue = read_catalogue(viewer)
    (run_entry,), (image_entry,) = catalogue["runs"], catalogue["images"]
    assert image_entry["name"] == run_entry["label"] == run_entry["note"] == malicious


def test_previous_viewer_is_kept_if_writing_the_page_fails(
    runs: list[SyntheticRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = write_files(load_run_views([runs[0].folder], tmp_path / "prepared"), tmp_path / "viewer").parent
    previous = sorted(path.read_bytes() for path in viewer.rglob("*") if path.is_file())

    def fail(*_: object, **__: object) -> str:
        raise OSError("No space left on device")

    monkeypatch.setattr("mammoseg.view.writer.render", fail)
    with pytest.raises(OSError, match="No space left"):
        write_files(load_run_views([runs[1].folder], tmp_path / "prepared"), viewer)
    assert sorted(path.read_bytes() for path in viewer.rglob("*") if path.is_file()) == previous
    assert not list(tmp_path.glob(f"{TMP_PREFIX}*"))
