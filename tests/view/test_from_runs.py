"""Run folders -> what the page shows, and the page's data on disk."""

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
from viewer_files import Drawn, draw_run, draw_store

from mammoseg.errors import UserError
from mammoseg.files import TMP_PREFIX
from mammoseg.runs import results
from mammoseg.view.from_runs import load_run_views
from mammoseg.view.items import ViewerImage
from mammoseg.view.writer import write

CASES = ["a", "b", "<script>alert(1)</script>", "d", "e"]


@pytest.fixture
def drawn(tmp_path: Path) -> list[Drawn]:
    truths = draw_store(tmp_path / "prepared" / "phantom-1", CASES)
    draw_store(tmp_path / "prepared" / "phantom-0", CASES, seed=9)  # other preparation, which these runs did not see
    first = draw_run(tmp_path / "runs" / "one", CASES, truths, seed=1)
    second = draw_run(tmp_path / "runs" / "two", CASES[1:], truths[1:], seed=2, threshold=0.3)
    return [first, second]


def data(viewer: Path, name: str) -> Any:
    said = (viewer / "data" / f"{name}.js").read_text()
    start = f'mammoseg.receive("{name}",'
    assert said.startswith(start)
    return json.loads(said.removeprefix(start).removesuffix(");\n"))


def picture(address: str) -> NDArray[np.uint8]:
    encoded = np.frombuffer(base64.b64decode(address.split(",")[1]), np.uint8)
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)


def catalogue(viewer: Path) -> Any:
    page = (viewer / "index.html").read_text()
    return json.loads(page.split('id="catalogue">')[1].split("</script>")[0])


def test_the_data_are_the_runs_own_to_the_last_pixel(drawn: list[Drawn], tmp_path: Path) -> None:
    viewer = write(load_run_views([tmp_path / "runs"], tmp_path / "prepared"), tmp_path / "viewer").parent
    told = catalogue(viewer)
    assert [image["name"] for image in told["images"]] == CASES  # shared by the runs, so kept once
    for number, run in enumerate(drawn):
        rows = data(viewer, f"run-{number}")
        assert told["runs"][number]["step"] == round(256 * run.threshold)
        tables = {row["case"]: row for row in results.read_results(run.folder / "results.csv")}
        for place, (image, *counts) in enumerate(rows["rows"]):
            case = told["images"][image]["name"]
            assert counts == [tables[case][name] for name in results.COUNTS]
            pictures = data(viewer, f"run-{number}-{image}")
            np.testing.assert_array_equal(picture(pictures["levels"]), run.levels[place])
            np.testing.assert_array_equal(picture(pictures["mask"]) > 0, run.levels[place] >= 256 * run.threshold)
            np.testing.assert_array_equal(picture(data(viewer, f"image-{image}")["truth"]) > 0, run.truths[place])
            for threshold in (1, 77, 128, 255):
                above = run.levels[place] >= threshold
                assert sum(rows["mass"][place][threshold:]) == (above & run.truths[place]).sum()
                assert sum(rows["rest"][place][threshold:]) == (above & ~run.truths[place]).sum()


def test_the_page_stands_alone_and_tells_nothing_of_the_machine(drawn: list[Drawn], tmp_path: Path) -> None:
    viewer = write(load_run_views([tmp_path / "runs"], tmp_path / "prepared"), tmp_path / "viewer").parent
    page = (viewer / "index.html").read_text()
    assert "<script>alert" not in page
    assert "http" not in page
    everything = page + "".join(path.read_text() for path in (viewer / "data").iterdir())
    assert "SECRET" not in everything
    assert str(tmp_path) not in everything
    assert tmp_path.name not in everything
    assert {path.name for path in tmp_path.iterdir()} == {"prepared", "runs", "viewer"}


def test_runs_of_earlier_versions_are_shown_with_their_masks(tmp_path: Path) -> None:
    truths = draw_store(tmp_path / "prepared" / "phantom-1", CASES)
    draw_run(tmp_path / "old", CASES, truths, seed=1, old=True)
    viewer = write(load_run_views([tmp_path / "old"], tmp_path / "prepared"), tmp_path / "viewer").parent
    (run,) = catalogue(viewer)["runs"]
    assert "mammoseg.evaluate" in run["note"]
    assert run["step"] is None
    assert data(viewer, "run-0")["rest"] is None
    assert set(data(viewer, "run-0-0")) == {"mask"}


def test_runs_of_one_name_are_told_apart_by_their_place_below_the_folder(tmp_path: Path) -> None:
    truths = draw_store(tmp_path / "prepared" / "phantom-1", CASES)
    for name in ("x/one", "x/two", "y"):
        draw_run(tmp_path / name, CASES, truths, seed=1)
    labels = [view.label for view in load_run_views([tmp_path / "x", tmp_path / "y"], tmp_path / "prepared")]
    assert labels == ["phantom-m1 (one)", "phantom-m1 (two)", "phantom-m1 (y)"]


def test_what_cannot_be_shown_is_said(drawn: list[Drawn], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match=r"one: the prepared images .* dataset.store=<folder>"):
        load_run_views([tmp_path / "runs"], tmp_path / "elsewhere")
    (drawn[0].folder / "predictions.npz").unlink()
    with caplog.at_level(logging.WARNING):
        (view,) = load_run_views([tmp_path / "runs"], tmp_path / "prepared")
    assert "one skipped: it has no predictions.npz" in caplog.text
    assert view.label == "phantom-m2"
    (drawn[1].folder / "predictions.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match=r"predictions.npz: damaged .* mammoseg.evaluate"):
        load_run_views([tmp_path / "runs"], tmp_path / "prepared")
    (drawn[1].folder / "predictions.npz").unlink()
    with pytest.raises(UserError, match="no run there has predictions"):
        load_run_views([tmp_path / "runs"], tmp_path / "prepared")


def test_predictions_of_other_images_than_the_table_s_are_refused(drawn: list[Drawn], tmp_path: Path) -> None:
    (drawn[0].folder / "predictions.npz").write_bytes((drawn[1].folder / "predictions.npz").read_bytes())
    with pytest.raises(UserError, match=r"lacks 1 images of results\.csv, such as a"):
        load_run_views([tmp_path / "runs"], tmp_path / "prepared")


class Failing:
    label, note, folder = "failing", "", Path()
    threshold: float | None = 0.5

    def __len__(self) -> int:
        return 2

    def items(self) -> Iterator[ViewerImage]:
        yield ViewerImage("k", "n", 0, "", "", "", None, None, np.zeros((4, 4), bool), None)
        raise OSError(28, "No space left on device")


def test_a_viewer_is_replaced_whole_or_not_at_all(drawn: list[Drawn], tmp_path: Path) -> None:
    out = tmp_path / "viewer"
    views = load_run_views([tmp_path / "runs"], tmp_path / "prepared")
    write(views[1:], out)
    before = {path.name: path.read_bytes() for path in (out / "data").iterdir()}
    with pytest.raises(OSError, match="No space"):
        write([Failing()], out)
    assert {path.name: path.read_bytes() for path in (out / "data").iterdir()} == before
    write(views[:1], out)
    assert len(list((out / "data").iterdir())) == 2 * len(CASES) + 1
    assert {path.name for path in tmp_path.iterdir()} == {"prepared", "runs", "viewer"}


def test_a_folder_of_something_else_is_not_touched(drawn: list[Drawn], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("my own page")
    with pytest.raises(UserError, match=r"not a viewer; choose another folder with output="):
        write(load_run_views([tmp_path / "runs"], tmp_path / "prepared"), tmp_path / "mine")
    assert (tmp_path / "mine" / "index.html").read_text() == "my own page"


def test_no_name_can_close_a_script_element_or_add_a_tag(tmp_path: Path) -> None:
    hostile = "</script><img src=x onerror=alert(1)>{{ title }}'\""
    truths = draw_store(tmp_path / "prepared" / "phantom-1", [hostile])
    run = draw_run(tmp_path / "run", [hostile], truths, seed=1)
    (view,) = load_run_views([run.folder], tmp_path / "prepared")
    view.label = view.note = hostile
    viewer = write([view], tmp_path / "viewer").parent
    page = (viewer / "index.html").read_text()
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert page.count("{{ title }}") == 5, "in the catalogue's label, note and name, the title and the heading"
    told = catalogue(viewer)
    assert told["images"][0]["name"] == told["runs"][0]["label"] == told["runs"][0]["note"] == hostile


def test_a_viewer_that_cannot_be_completed_keeps_the_earlier_one(
    drawn: list[Drawn], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = write(load_run_views([drawn[0].folder], tmp_path / "prepared"), tmp_path / "viewer").parent
    before = sorted(path.read_bytes() for path in viewer.rglob("*") if path.is_file())

    def fail(*_: object, **__: object) -> str:
        raise OSError("No space left on device")

    monkeypatch.setattr("mammoseg.view.writer.render", fail)
    with pytest.raises(OSError, match="No space left"):
        write(load_run_views([drawn[1].folder], tmp_path / "prepared"), viewer)
    assert sorted(path.read_bytes() for path in viewer.rglob("*") if path.is_file()) == before
    assert not list(tmp_path.glob(f"{TMP_PREFIX}*"))
