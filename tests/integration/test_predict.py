"""`python -m mammoseg.predict` on phantoms in every format, on what is no mammogram, and killed in the middle."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import planted
import pydicom
import pytest
import torch
from commands import command
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, RLELossless

from mammoseg.errors import UserError
from mammoseg.files import TMP_PREFIX
from mammoseg.predict.pipeline import Options, predict
from mammoseg.runs.predictions import read_predictions

HEIGHT = planted.phantom().pixels.shape[0]
IMAGES = 40
KINDS = ("masks", "probabilities", "overlays", "heatmaps")


def table(folder: Path, name: str = "predictions.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as lines:
        return list(csv.DictReader(lines))


def read(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None, path
    return picture


def run(ckpt: Path | list[Path], given: Path, output: Path, **options: Any) -> str:
    """What the command does, without the seconds that it takes to start; returns what it logged."""
    usual = {"tta": False, "threshold": None, "segmentation": "anonymous", "accelerator": "cpu", "batch_size": 4}
    said = io.StringIO()
    handler, logger = logging.StreamHandler(said), logging.getLogger("mammoseg")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        checkpoints = ckpt if isinstance(ckpt, list) else [ckpt]
        predict(checkpoints, given, output, Options(**{**usual, "workers": 2, **options}))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return said.getvalue()


@pytest.fixture(scope="module")
def mammograms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same phantom in eight formats, one that is mirrored, and what is no mammogram."""
    folder = tmp_path_factory.mktemp("given")
    pixels = planted.phantom().pixels
    planted.write(folder / "plain.dcm")
    planted.write(folder / "visit" / "inverted.dcm", 4095 - pixels, PhotometricInterpretation="MONOCHROME1")
    planted.write(folder / "visit" / "1.2.840.99.7", syntax=RLELossless)
    planted.write(folder / "jpeg2000.dcm", syntax=JPEG2000Lossless)
    planted.write(folder / "lossless.dcm", syntax=JPEGLosslessSV1)
    planted.write(
        folder / "right.dcm",
        np.ascontiguousarray(pixels[:, ::-1]),
        ImageLaterality="R",
        EstimatedRadiographicMagnificationFactor=1.25,
    )
    for name in ("picture.png", "picture.tif"):
        assert cv2.imwrite(str(folder / name), pixels)
    assert cv2.imwrite(str(folder / "eight.jpg"), (pixels / pixels.max() * 255).astype(np.uint8))
    bad = folder / "bad"
    bad.mkdir()
    (bad / "empty.dcm").touch()
    (bad / "empty.png").touch()
    (bad / "cut.dcm").write_bytes((folder / "plain.dcm").read_bytes()[:5000])
    photo = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    assert cv2.imwrite(str(bad / "photo.png"), photo)
    assert cv2.imwrite(str(bad / "tiny.png"), photo[:40, :40, 0])
    assert cv2.imwrite(str(bad / "black.png"), np.zeros((300, 300), np.uint8))
    assert cv2.imwrite(str(bad / "mask.png"), np.where(photo[..., 0] > 9, 255, 0).astype(np.uint8))
    (bad / "thumbs.db").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def output(mammograms: Path, best: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one call, with a threshold that is not the checkpoint's."""
    place = tmp_path_factory.mktemp("place")
    done = command("predict", f"ckpt_path={best}", f"input={mammograms}", "output=out", "threshold=0.3", folder=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 of 16 files were skipped" in done.stdout
    assert "9 images predicted" in done.stdout
    (place / "out" / "said.txt").write_text(done.stdout + done.stderr)
    return place / "out"


def test_each_image_has_all_its_files_at_its_own_size(output: Path) -> None:
    names = {row["name"] for row in table(output)}
    assert names == {
        *("plain", "visit/inverted", "visit/1.2.840.99.7", "jpeg2000", "lossless", "right", "eight"),
        *("picture.png", "picture.tif"),  # which would share a name
    }
    shape = planted.phantom().pixels.shape
    for name in names:
        mask, prob, overlay, heat = (read(output / kind / f"{name}.png") for kind in KINDS)
        assert mask.shape == prob.shape == shape
        assert set(np.unique(mask)) <= {0, 255}
        assert overlay.shape == heat.shape == (*shape, 3)
        np.testing.assert_array_equal(mask == 255, prob > round(0.3 * 255 - 0.5))
    assert sorted(path.name for path in output.rglob("*.dcm")) == sorted(
        f"{Path(name).name}.dcm" for name in names if "picture" not in name and name != "eight"
    )


def test_the_format_makes_no_difference(output: Path) -> None:
    reference = read(output / "probabilities" / "plain.png")
    assert (np.percentile(reference, [50, 99.5]) > [20, 200]).tolist() == [False, True], "or nothing is compared"
    for name in ("visit/inverted", "visit/1.2.840.99.7", "jpeg2000", "lossless", "picture.png", "picture.tif"):
        np.testing.assert_array_equal(read(output / "probabilities" / f"{name}.png"), reference, err_msg=name)
    eight = read(output / "probabilities" / "eight.png").astype(int)
    assert np.abs(eight - reference).mean() < 3, "8 bits and JPEG's losses"


def test_the_table_follows_from_the_masks(output: Path) -> None:
    rows = table(output)
    assert any(0 < int(row["area_pixels"]) < 20_000 for row in rows), "or nothing is compared"
    for name in {row["name"] for row in rows}:
        mine = [row for row in rows if row["name"] == name]
        mask, prob = read(output / "masks" / f"{name}.png") > 0, read(output / "probabilities" / f"{name}.png") / 255
        number, labels, _, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        assert {row["masses"] for row in mine} == {str(number - 1)}
        assert float(mine[0]["highest_probability"]) == pytest.approx(prob.max(), abs=0.003)
        if number == 1:
            assert [row["mass"] for row in mine] == [""]
            continue
        assert [row["mass"] for row in mine] == [str(place) for place in range(1, number)]
        for row in mine:
            label = int(np.hypot(*(centres[1:] - [float(row["x"]), float(row["y"])]).T).argmin()) + 1
            assert int(row["area_pixels"]) == (labels == label).sum()
            assert float(row["probability"]) == pytest.approx(prob[labels == label].mean(), abs=0.003)
            assert row["uncertainty"] == "", "one network, no mirrored images"


def test_view_side_and_area_come_from_the_header(output: Path) -> None:
    rows = {row["name"]: row for row in table(output)}
    plain, right, picture = rows["plain"], rows["right"], rows["picture.png"]
    assert (plain["view"], plain["side"], right["side"]) == ("CC", "L", "R")
    assert (picture["view"], picture["side"], picture["spacing_from"], picture["area_mm2"]) == ("", "", "", "")
    assert plain["spacing_from"] == "ImagerPixelSpacing"
    area = int(plain["area_pixels"]) * planted.SPACING**2
    assert float(plain["area_mm2"]) == pytest.approx(area, abs=0.01)
    assert "EstimatedRadiographicMagnificationFactor" in right["spacing_from"]
    assert float(right["spacing_across_mm"]) == pytest.approx(planted.SPACING / 1.25)


def test_bad_files_are_listed_with_their_reasons(output: Path) -> None:
    reasons = {row["file"]: row["reason"] for row in table(output, "skipped.csv")}
    expected = {
        "bad/empty.dcm": "empty",
        "bad/empty.png": "empty",
        "bad/cut.dcm": "truncated",
        "bad/photo.png": "colour",
        "bad/tiny.png": "40x40",
        "bad/black.png": "one grey value",
        "bad/mask.png": "2 grey values",
    }
    assert reasons.keys() == expected.keys()
    for file, part in expected.items():
        assert part in reasons[file], file
    said = (output / "said.txt").read_text()
    assert all(file in said for file in expected)


def test_segmentations_refer_to_their_images_and_hold_their_masks(output: Path, mammograms: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    for row in table(output):
        if not (output / "segmentations" / f"{row['name']}.dcm").is_file():
            continue
        segmentation = highdicom.seg.segread(output / "segmentations" / f"{row['name']}.dcm")
        image = pydicom.dcmread(mammograms / row["file"], stop_before_pixels=True)
        frames = segmentation.get_pixels_by_source_instance([image.SOPInstanceUID])
        np.testing.assert_array_equal(frames[0, :, :, 0] > 0, read(output / "masks" / f"{row['name']}.png") > 0)


def test_nothing_planted_gets_out(output: Path, mammograms: Path) -> None:
    assert planted.leaks(mammograms) != [], "or the search finds nothing"
    assert planted.leaks(output) == []
    place = str(mammograms.parent).encode()
    assert not [path for path in output.rglob("*") if path.is_file() and place in path.read_bytes()]


def test_it_predicts_what_the_run_itself_predicted(best: Path, trained: Path, tmp_path: Path) -> None:
    """The whole way from the files must end at the masks that testing found on the prepared images."""
    root = next((trained.parent / "data").glob("phantom-*"))
    run(best, root, tmp_path / "out", segmentation="none", batch_size=3)
    assert not (tmp_path / "out" / "segmentations").exists()
    tested = read_predictions(trained / "predictions.npz").by_case
    store = next(path.parent for path in (trained.parent / "data").rglob("cases.csv"))
    cases = {row["case"]: row for row in table(store, "cases.csv")}
    found = 0
    for case, expected in tested.items():
        (path,) = (tmp_path / "out" / "masks").rglob(f"{case}_*.png")
        row = cases[case]
        box = read(path)[int(row["top"]) : int(row["bottom"]), int(row["left"]) : int(row["right"])]
        small = cv2.resize(box / 255, (64, 64), interpolation=cv2.INTER_AREA) > 0.5
        assert (small != expected).sum() <= 0.15 * expected.sum() + 4, case
        found += expected.sum()
    assert found > 50, "or nothing is compared"


def test_an_ensemble_with_mirrored_images_tells_its_disagreement(
    best: Path, sibling: Path, mammograms: Path, tmp_path: Path
) -> None:
    given, options = mammograms / "plain.dcm", {"threshold": 0.3, "segmentation": "none", "tta": True}
    run([best, sibling], given, tmp_path / "out", **options)
    mean, uncertainty = (read(tmp_path / "out" / kind / "plain.png") for kind in ("probabilities", "uncertainty"))
    mask = read(tmp_path / "out" / "masks" / "plain.png") > 0
    row = table(tmp_path / "out")[0]
    assert uncertainty.max() > 5
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1]
    largest = labels == np.bincount(labels[mask]).argmax()
    assert float(row["uncertainty"]) == pytest.approx(uncertainty[largest].mean() / 255 / 2, abs=0.002)
    alone = []
    for number, path in enumerate((best, sibling)):
        run(path, given, tmp_path / f"alone{number}", **options)
        alone.append(read(tmp_path / f"alone{number}" / "probabilities" / "plain.png").astype(float))
    np.testing.assert_allclose(mean, np.mean(alone, axis=0), atol=1.01)
    assert np.abs(alone[0] - alone[1]).max() > 2


def test_a_second_call_does_what_is_missing_and_nothing_else(best: Path, mammograms: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for name in ("plain.dcm", "picture.png"):
        (given / name).write_bytes((mammograms / name).read_bytes())
    run(best, given, given / "out")
    before = {path: path.stat().st_mtime_ns for path in (given / "out").rglob("*.png")}
    (given / "picture.tif").write_bytes((mammograms / "picture.tif").read_bytes())
    assert "2 of 3 images were predicted before" in run(best, given, given / "out")
    after = {path: path.stat().st_mtime_ns for path in (given / "out").rglob("*.png")}
    assert before.items() < after.items()
    assert list(dict.fromkeys(row["name"] for row in table(given / "out"))) == ["picture", "picture.tif", "plain"]
    assert "3 of 3" in run(best, given, given / "out")
    with pytest.raises(UserError, match="another tta"):
        run(best, given, given / "out", tta=True)
    with pytest.raises(UserError, match="another input"):
        run(best, mammograms, given / "out")


def test_killed_it_goes_on_and_ends_with_the_same_files(best: Path, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = np.clip(planted.phantom().pixels + rng.integers(-60, 60, planted.phantom().pixels.shape), 0, 4095)
        assert cv2.imwrite(str(tmp_path / "given" / f"{number:02}.png"), pixels.astype(np.uint16))
    # One at a time: in other company an image's last digits are rounded differently.
    arguments = (f"ckpt_path={best}", "input=given", "threshold=0.3", "batch_size=1", "accelerator=cpu")
    run(best, tmp_path / "given", tmp_path / "whole", threshold=0.3, batch_size=1)
    for ending, status in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        line = [sys.executable, "-m", "mammoseg.predict", *arguments, "output=killed"]
        process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        journal, enough = tmp_path / "killed" / ".journal.jsonl", lines(tmp_path / "killed" / ".journal.jsonl") + 5
        while process.poll() is None and lines(journal) < enough:
            time.sleep(0.01)
        process.send_signal(ending)
        said = process.communicate(timeout=60)[0]
        assert process.returncode == status, said
        assert "Traceback" not in said
        assert enough <= lines(journal) < IMAGES
        for path in (tmp_path / "killed").rglob("*.png"):
            read(path)
    done = command("predict", *arguments, "output=killed", folder=tmp_path)
    assert "images were predicted before" in done.stdout, done.stderr
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.suffix in (".png", ".csv"))
    assert files == sorted(path.relative_to(killed) for path in killed.rglob("*") if path.suffix in (".png", ".csv"))
    assert len(files) == IMAGES * len(KINDS) + 2
    for file in files:
        assert (whole / file).read_bytes() == (killed / file).read_bytes(), file


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def test_a_full_disk_ends_in_one_sentence(best: Path, mammograms: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for it: in the middle of a write."""
    arguments = [sys.executable, "-m", "mammoseg.predict", f"ckpt_path={best}", f"input={mammograms}", "output=out"]
    limited = ["bash", "-c", 'ulimit -f 8; trap "" XFSZ; exec "$@"', "bash", *arguments]
    done = subprocess.run(limited, cwd=tmp_path, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "output" in done.stderr
    assert not list((tmp_path / "out").rglob(f"{TMP_PREFIX}*"))
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix == ".dcm":
            pydicom.dcmread(path)
        if path.suffix == ".png":
            read(path)
    run(best, mammograms, tmp_path / "out")
    assert len({row["file"] for row in table(tmp_path / "out")}) == 9


def test_mistakes_are_told_in_a_sentence(best: Path, mammograms: Path, tmp_path: Path) -> None:
    out, junk = tmp_path / "out", tmp_path / "junk.ckpt"
    junk.write_bytes(b"PK\3\4 junk")
    for arguments, options, expected in (
        ((junk, mammograms), {}, "not a checkpoint"),
        ((tmp_path / "absent.ckpt", mammograms), {}, "no such checkpoint"),
        ((best, tmp_path / "absent"), {}, "no such file or folder"),
        ((best, mammograms), {"segmentation": "yes"}, "must be one of anonymous"),
        ((best, mammograms), {"threshold": 50}, "threshold must be a number between 0 and 1"),
        ((best, mammograms), {"batch_size": 0}, "batch_size must be an integer of at least 1"),
        ((best, mammograms), {"accelerator": "abacus"}, "must be one of auto"),
    ):
        with pytest.raises(UserError, match=expected):
            run(*arguments, out, **options)
        assert not out.exists()
    with pytest.raises(UserError, match="is a file"):
        run(best, mammograms, junk)
    assert junk.read_bytes() == b"PK\3\4 junk"


def test_nothing_but_bad_files_ends_with_status_2(best: Path, mammograms: Path, tmp_path: Path) -> None:
    done = command("predict", f"ckpt_path={best}", f"input={mammograms}/bad", "output=none", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == ("mammoseg predict: none of the 7 files could be predicted; none/skipped.csv says why\n")
    assert len(table(tmp_path / "none", "skipped.csv")) == 7


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_without_permission(best: Path, mammograms: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    done = command("predict", f"ckpt_path={best}", f"input={mammograms}", "output=closed/out", folder=tmp_path)
    assert done.returncode == 2
    assert "check the permissions" in done.stderr


def test_a_dicom_without_uids_has_all_but_a_segmentation(best: Path, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    planted.write(tmp_path / "given" / "a.dcm")
    header = pydicom.dcmread(tmp_path / "given" / "a.dcm")
    del header.SeriesInstanceUID
    header.save_as(tmp_path / "given" / "a.dcm")
    for _ in range(2):
        said = run(best, tmp_path / "given", tmp_path / "out")
        assert "without a DICOM Segmentation" in said
        (row,) = table(tmp_path / "out", "skipped.csv")
        assert "SeriesInstanceUID" in row["reason"]
    assert (tmp_path / "out" / "masks" / "a.png").is_file()
    assert not (tmp_path / "out" / "segmentations").exists()


def test_the_patient_is_in_the_segmentation_where_the_user_says_so(best: Path, tmp_path: Path) -> None:
    planted.write(tmp_path / "a.dcm")
    run(best, tmp_path / "a.dcm", tmp_path / "out", segmentation="identified")
    leaks = planted.leaks(tmp_path / "out")
    assert leaks
    assert all("segmentations" in leak for leak in leaks), leaks
    made_of = json.loads((tmp_path / "out" / "predictions.json").read_text())["made_of"]
    assert made_of["segmentation"] == "identified"


def test_a_checkpoint_that_carries_code_is_refused(tmp_path: Path, best: Path) -> None:
    loaded = torch.load(best, weights_only=True)
    loaded["mammoseg"]["config"]["model"]["_target_"] = "os.system"
    torch.save(loaded, tmp_path / "evil.ckpt")
    planted.write(tmp_path / "a.dcm")
    with pytest.raises(UserError, match=r"os\.system, which is not trusted"):
        run(tmp_path / "evil.ckpt", tmp_path / "a.dcm", tmp_path / "out")
