"""A folder of predictions is never half of one: what was killed goes on, what differs is refused."""

from __future__ import annotations

import csv
import errno
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mammoseg.errors import UserError
from mammoseg.files import TMP_PREFIX
from mammoseg.predict.inputs import Input
from mammoseg.predict.output_folder import Folder

MADE_OF = {"checkpoints": ["abc"], "threshold": 0.5}


@pytest.fixture
def image(tmp_path: Path) -> Input:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"pixels")
    return Input(tmp_path / "in" / "a.png", "a.png")


def table(folder: Path, name: str = "predictions") -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def add(folder: Folder, image: Input, name: str = "a", **row: Any) -> None:
    folder.put(f"masks/{name}.png", b"mask")
    folder.done(image, name, [f"masks/{name}.png"], [{"file": image.file, "name": name, "masses": 0, **row}])


def test_what_is_done_is_known_later(image: Input, tmp_path: Path) -> None:
    for _ in range(2):
        folder = Folder(tmp_path / "out", MADE_OF)
        with folder.at_work():
            if not folder.is_done(image):
                add(folder, image)
    assert [row["name"] for row in table(tmp_path / "out")] == ["a"]
    assert table(tmp_path / "out", "skipped") == []


def test_an_image_that_changed_or_lost_a_file_is_done_again(image: Input, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out", MADE_OF)
    with folder.at_work():
        add(folder, image)
        assert folder.is_done(image)
        (tmp_path / "out" / "masks" / "a.png").unlink()
        assert not folder.is_done(image)
        add(folder, image)
        image.path.write_bytes(b"other pixels")
        assert not folder.is_done(image)
        add(folder, image, masses=1)
    assert [row["masses"] for row in table(tmp_path / "out")] == ["1"], "one row, the later"


def test_temporaries_of_a_killed_process_are_removed(image: Input, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    (tmp_path / "out" / "masks" / "sub").mkdir(parents=True)
    stale = tmp_path / "out" / "masks" / "sub" / f"{TMP_PREFIX}{process.pid}-0-{socket.gethostname()}"
    stale.write_bytes(b"half of a mask")
    with Folder(tmp_path / "out", MADE_OF).at_work():
        assert not stale.exists()


def test_a_write_that_fails_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    folder = Folder(tmp_path, MADE_OF)
    folder.put("masks/a.png", b"old")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="Input/output"):
        folder.put("masks/a.png", b"new")
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["a.png"]
    assert (tmp_path / "masks" / "a.png").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("other", "named"), [({"threshold": 0.4}, "threshold"), ({"checkpoints": ["abd"]}, "checkpoints")]
)
def test_other_settings_are_refused(image: Input, tmp_path: Path, other: dict[str, Any], named: str) -> None:
    with Folder(tmp_path / "out", MADE_OF).at_work():
        pass
    with (
        pytest.raises(UserError, match=f"another {named}; choose another output"),
        Folder(tmp_path / "out", {**MADE_OF, **other}).at_work(),
    ):
        pass


@pytest.mark.parametrize("content", ["", "{}", "[]", "nonsense", '{"made_of": 3}'])
def test_a_damaged_description_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "predictions.json").write_text(content)
    with pytest.raises(UserError, match="damaged"), Folder(tmp_path, MADE_OF).at_work():
        pass


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("something of the user's")
    with pytest.raises(UserError, match="is a file"), Folder(tmp_path / "out", MADE_OF).at_work():
        pass
    assert (tmp_path / "out").read_text() == "something of the user's"


def test_an_error_leaves_tables_of_what_was_done(image: Input, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out", MADE_OF)

    def fail() -> None:
        with folder.at_work():
            add(folder, image)
            folder.skip(Input(tmp_path / "b", "b"), "no pixels")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert len(table(tmp_path / "out")) == 1
    assert table(tmp_path / "out", "skipped") == [{"file": "b", "reason": "no pixels"}]


def test_notes_about_done_images_stay(image: Input, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out", MADE_OF)
    with folder.at_work():
        folder.done(image, "a", [], [], note="without something")
    with Folder(tmp_path / "out", MADE_OF).at_work():
        pass
    assert table(tmp_path / "out", "skipped") == [{"file": "a.png", "reason": "without something"}]


def test_names_that_are_no_text_reach_the_tables(image: Input, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out", MADE_OF)
    with folder.at_work():
        add(folder, Input(image.path, "\udcff.png"))
    assert table(tmp_path / "out")[0]["file"] == "\\udcff.png"


def test_ten_thousand_images_take_seconds(image: Input, tmp_path: Path) -> None:
    """Each costs the same: a table rewritten for every one, or a list searched, would take many minutes."""
    images = [Input(image.path, f"{number}.png") for number in range(10_000)]
    started = time.process_time()
    folder = Folder(tmp_path / "out", MADE_OF)
    with folder.at_work():
        names = folder.names(images)
        for each in images:
            folder.done(each, names[each.file], [], [{"file": each.file}])
    with folder.at_work():
        assert all(folder.is_done(each) for each in images)
    assert len(table(tmp_path / "out")) == 10_000
    assert time.process_time() - started < 30


def test_an_image_that_changed_for_the_worse_leaves_nothing_behind(image: Input, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out", MADE_OF)
    with folder.at_work():
        folder.put("masks/a.png", b"mask")
        folder.put("segmentations/a.dcm", b"segmentation")
        folder.done(image, "a", ["masks/a.png", "segmentations/a.dcm"], [{"file": image.file}])
        folder.done(image, "a", ["masks/a.png"], [{"file": image.file}])
        assert not (tmp_path / "out" / "segmentations" / "a.dcm").exists()
        folder.skip(image, "cut off")
    assert not (tmp_path / "out" / "masks" / "a.png").exists()
    assert table(tmp_path / "out") == []
    assert [row["reason"] for row in table(tmp_path / "out", "skipped")] == ["cut off"]
