"""Prediction folders: resuming, changed images, different settings, and tables after an error."""

from __future__ import annotations

import csv
import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mammoseg.errors import UserError
from mammoseg.files import TMP_PREFIX
from mammoseg.predict import output_folder
from mammoseg.predict.coco import encode_image
from mammoseg.predict.exams import ExamLabel
from mammoseg.predict.findings import Findings
from mammoseg.predict.inputs import Input
from mammoseg.predict.output_folder import PredictionFolder

PROVENANCE = {"checkpoints": ["abc"], "threshold": 0.5}


@pytest.fixture
def image(tmp_path: Path) -> Input:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"pixels")
    return Input(tmp_path / "in" / "a.png", "a.png")


def table(folder: Path, name: str = "predictions") -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def add(folder: PredictionFolder, image: Input, name: str = "a", **row: Any) -> None:
    folder.write_file(f"masks/{name}.png", b"mask")
    folder.record(image, name, [f"masks/{name}.png"], [{"file": image.file, "name": name, "masses": 0, **row}])


def test_complete_images_stay_complete_in_the_next_session(image: Input, tmp_path: Path) -> None:
    for _ in range(2):
        folder = PredictionFolder(tmp_path / "out", PROVENANCE)
        with folder.session():
            if not folder.is_complete(image):
                add(folder, image)
    assert [row["name"] for row in table(tmp_path / "out")] == ["a"]
    assert table(tmp_path / "out", "skipped") == []


def test_an_image_that_changed_or_lost_a_file_is_incomplete(image: Input, tmp_path: Path) -> None:
    folder = PredictionFolder(tmp_path / "out", PROVENANCE)
    with folder.session():
        add(folder, image)
        assert folder.is_complete(image)
        (tmp_path / "out" / "masks" / "a.png").unlink()
        assert not folder.is_complete(image)
        add(folder, image)
        image.path.write_bytes(b"other pixels")
        assert not folder.is_complete(image)
        add(folder, image, masses=1)
    assert [row["masses"] for row in table(tmp_path / "out")] == ["1"], "the later row replaces the earlier one"


def test_temporary_files_of_a_killed_process_are_removed(image: Input, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    (tmp_path / "out" / "masks" / "sub").mkdir(parents=True)
    stale = tmp_path / "out" / "masks" / "sub" / f"{TMP_PREFIX}{process.pid}-0-{socket.gethostname()}"
    stale.write_bytes(b"partial mask")
    with PredictionFolder(tmp_path / "out", PROVENANCE).session():
        assert not stale.exists()


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    folder = PredictionFolder(tmp_path, PROVENANCE)
    folder.write_file("masks/a.png", b"old")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        folder.write_file("masks/a.png", b"new")
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["a.png"]
    assert (tmp_path / "masks" / "a.png").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("other", "name"), [({"threshold": 0.4}, "threshold"), ({"checkpoints": ["abd"]}, "checkpoints")]
)
def test_a_folder_with_different_provenance_is_rejected(
    image: Input, tmp_path: Path, other: dict[str, Any], name: str
) -> None:
    with PredictionFolder(tmp_path / "out", PROVENANCE).session():
        pass
    with (
        pytest.raises(UserError, match=rf"\({name}\); choose another output"),
        PredictionFolder(tmp_path / "out", {**PROVENANCE, **other}).session(),
    ):
        pass


def test_a_setting_of_the_folder_that_is_not_used_any_more_is_reported(tmp_path: Path) -> None:
    with PredictionFolder(tmp_path / "out", {**PROVENANCE, "max_masses": 2}).session():
        pass
    with pytest.raises(UserError, match=r"\(max_masses\)"), PredictionFolder(tmp_path / "out", PROVENANCE).session():
        pass


def test_images_of_an_earlier_version_are_predicted_again(
    image: Input, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = PredictionFolder(tmp_path / "out", PROVENANCE)
    with folder.session():
        add(folder, image)
        assert folder.is_complete(image)
        monkeypatch.setattr(output_folder, "OUTPUTS_VERSION", output_folder.OUTPUTS_VERSION + 1)
        assert not folder.is_complete(image)


def test_contours_and_exams_of_all_images_are_merged(image: Input, tmp_path: Path) -> None:
    findings = Findings(np.zeros((4, 3), np.float32), None, np.zeros((4, 3), bool), [])
    folder = PredictionFolder(tmp_path / "out", PROVENANCE, {"b.png": ExamLabel("P1", "R")})
    with folder.session():
        for name in ("b", "a"):
            source = Input(image.path, f"{name}.png")
            folder.write_file(f"contours/{name}.json", encode_image(source.file, findings))
            row = {"file": source.file, "side": "L", "view": "CC", "highest_probability": "0.5", "masses": 0}
            folder.record(source, name, [f"contours/{name}.json"], [row])
    images = json.loads((tmp_path / "out" / "coco.json").read_text())["images"]
    assert [(entry["id"], entry["file_name"]) for entry in images] == [(1, "a.png"), (2, "b.png")]
    assert [(row["exam"], row["side"]) for row in table(tmp_path / "out")] == [("", "L"), ("P1", "R")]
    assert [(row["level"], row["side"]) for row in table(tmp_path / "out", "exams")] == [("breast", "R"), ("exam", "")]


@pytest.mark.parametrize("content", ["", "{}", "[]", "nonsense", '{"made_of": 3}'])
def test_a_damaged_provenance_file_is_reported(tmp_path: Path, content: str) -> None:
    (tmp_path / "predictions.json").write_text(content)
    with pytest.raises(UserError, match="damaged"), PredictionFolder(tmp_path, PROVENANCE).session():
        pass


def test_a_file_in_place_of_the_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a user's file")
    with (
        pytest.raises(UserError, match="must be a folder, got the file"),
        PredictionFolder(tmp_path / "out", PROVENANCE).session(),
    ):
        pass
    assert (tmp_path / "out").read_text() == "a user's file"


def test_tables_are_written_after_an_error(image: Input, tmp_path: Path) -> None:
    folder = PredictionFolder(tmp_path / "out", PROVENANCE)

    def fail() -> None:
        with folder.session():
            add(folder, image)
            folder.record_skipped(Input(tmp_path / "b", "b"), "no pixels")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert len(table(tmp_path / "out")) == 1
    assert table(tmp_path / "out", "skipped") == [{"file": "b", "reason": "no pixels"}]


def test_notes_on_complete_images_are_kept_in_the_next_session(image: Input, tmp_path: Path) -> None:
    folder = PredictionFolder(tmp_path / "out", PROVENANCE)
    with folder.session():
        folder.record(image, "a", [], [], note="without something")
    with PredictionFolder(tmp_path / "out", PROVENANCE).session():
        pass
    assert table(tmp_path / "out", "skipped") == [{"file": "a.png", "reason": "without something"}]


def test_file_names_that_are_not_utf8_are_escaped_in_the_tables(image: Input, tmp_path: Path) -> None:
    folder = PredictionFolder(tmp_path / "out", PROVENANCE)
    with folder.session():
        add(folder, Input(image.path, "\udcff.png"))
    assert table(tmp_path / "out")[0]["file"] == "\\udcff.png"


def test_the_time_per_image_does_not_grow_with_the_number_of_images(image: Input, tmp_path: Path) -> None:
    """The cost per image must be constant; rewriting a table for each would take many minutes."""
    images = [Input(image.path, f"{index}.png") for index in range(10_000)]
    start = time.process_time()
    folder = PredictionFolder(tmp_path / "out", PROVENANCE)
    with folder.session():
        names = folder.assign_names(images)
        for input_image in images:
            folder.record(input_image, names[input_image.file], [], [{"file": input_image.file}])
    with folder.session():
        assert all(folder.is_complete(input_image) for input_image in images)
    assert len(table(tmp_path / "out")) == 10_000
    assert time.process_time() - start < 30


def test_files_of_an_earlier_prediction_are_removed(image: Input, tmp_path: Path) -> None:
    folder = PredictionFolder(tmp_path / "out", PROVENANCE)
    with folder.session():
        folder.write_file("masks/a.png", b"mask")
        folder.write_file("segmentations/a.dcm", b"segmentation")
        folder.record(image, "a", ["masks/a.png", "segmentations/a.dcm"], [{"file": image.file}])
        folder.record(image, "a", ["masks/a.png"], [{"file": image.file}])
        assert not (tmp_path / "out" / "segmentations" / "a.dcm").exists()
        folder.record_skipped(image, "truncated")
    assert not (tmp_path / "out" / "masks" / "a.png").exists()
    assert table(tmp_path / "out") == []
    assert [row["reason"] for row in table(tmp_path / "out", "skipped")] == ["truncated"]


@pytest.mark.parametrize(
    "name", [".lock", "predictions.csv", "predictions.json", "coco.json", ".journal.jsonl", "masks"]
)
def test_links_in_the_folder_are_not_followed(tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    target.mkdir() if name == "masks" else target.write_text("content")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(target)
    with pytest.raises(UserError, match="symbolic link"), PredictionFolder(tmp_path / "out", PROVENANCE).session():
        pass
    assert not any(target.iterdir()) if name == "masks" else target.read_text() == "content"


def test_a_fifo_in_the_folder_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / ".journal.jsonl")
    with pytest.raises(UserError, match="FIFO"), PredictionFolder(tmp_path / "out", PROVENANCE).session():
        pass
