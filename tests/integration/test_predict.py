"""`python -m mammoseg.predict` on phantoms in every format, on invalid files, and when interrupted."""

from __future__ import annotations

import csv
import gzip
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import highdicom
import numpy as np
import pydicom
import pytest
import torch
from highdicom import sr
from PIL import Image
from pydicom.uid import BreastTomosynthesisImageStorage, JPEG2000Lossless, JPEGLosslessSV1, RLELossless

from helpers import confidential_dicom
from helpers.commands import TIMEOUT_S, environment, run, run_process, succeed
from mammoseg.errors import UserError
from mammoseg.files import TMP_PREFIX
from mammoseg.predict.options import PredictOptions
from mammoseg.predict.pipeline import predict
from mammoseg.runs.predictions import read_predictions

HEIGHT = confidential_dicom.phantom().pixels.shape[0]
IMAGES = 16
KINDS = ("masks", "probabilities", "overlays", "heatmaps")
TABLES = ("predictions.csv", "exams.csv", "skipped.csv", "coco.json", "predictions.json")


def table(folder: Path, name: str = "predictions.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as lines:
        return list(csv.DictReader(lines))


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image


def predict_images(ckpt: Path | list[Path], input_path: Path, output: Path, **options: Any) -> str:
    """Call `predict` with options that suit small images; returns the log."""
    defaults = {"tta": False, "threshold": None, "segmentation": "anonymous", "accelerator": "cpu", "batch_size": 4}
    stream = io.StringIO()
    handler, logger = logging.StreamHandler(stream), logging.getLogger("mammoseg")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        checkpoints = ckpt if isinstance(ckpt, list) else [ckpt]
        predict(checkpoints, input_path, output, PredictOptions(**{**defaults, "workers": 2, **options}))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return stream.getvalue()


@pytest.fixture(scope="module")
def mammograms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same phantom in eight formats, one of them mirrored, and files that are not mammograms."""
    folder = tmp_path_factory.mktemp("input")
    pixels = confidential_dicom.phantom().pixels
    confidential_dicom.write(folder / "plain.dcm")
    confidential_dicom.write(folder / "visit" / "inverted.dcm", 4095 - pixels, PhotometricInterpretation="MONOCHROME1")
    confidential_dicom.write(folder / "visit" / "1.2.840.99.7", syntax=RLELossless)
    confidential_dicom.write(folder / "jpeg2000.dcm", syntax=JPEG2000Lossless)
    confidential_dicom.write(folder / "lossless.dcm", syntax=JPEGLosslessSV1)
    confidential_dicom.write(
        folder / "right.dcm",
        np.ascontiguousarray(pixels[:, ::-1]),
        ImageLaterality="R",
        EstimatedRadiographicMagnificationFactor=1.25,
    )
    for name in ("raster.png", "raster.tif"):
        assert cv2.imwrite(str(folder / name), pixels)
    assert cv2.imwrite(str(folder / "eight.jpg"), (pixels / pixels.max() * 255).astype(np.uint8))
    unusable = folder / "unusable"
    unusable.mkdir()
    (unusable / "empty.dcm").touch()
    (unusable / "empty.png").touch()
    (unusable / "cut.dcm").write_bytes((folder / "plain.dcm").read_bytes()[:5000])
    photo = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    assert cv2.imwrite(str(unusable / "photo.png"), photo)
    assert cv2.imwrite(str(unusable / "tiny.png"), photo[:40, :40, 0])
    assert cv2.imwrite(str(unusable / "black.png"), np.zeros((300, 300), np.uint8))
    assert cv2.imwrite(str(unusable / "mask.png"), np.where(photo[..., 0] > 9, 255, 0).astype(np.uint8))
    (unusable / "thumbs.db").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def output(mammograms: Path, best: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of one call, with another threshold than the checkpoint's."""
    workdir = tmp_path_factory.mktemp("workdir")
    arguments = [f"ckpt_path={best}", f"input={mammograms}", "output=out", "threshold=0.3"]
    log = succeed("predict", *arguments, "structured_report=true", "float_probabilities=true", folder=workdir)
    assert "7 of 16 files skipped" in log
    assert "9 images predicted" in log
    (workdir / "out" / "log.txt").write_text(log)
    return workdir / "out"


def test_each_image_has_all_output_files_at_its_size(output: Path) -> None:
    names = {row["name"] for row in table(output)}
    assert names == {
        *("plain", "visit/inverted", "visit/1.2.840.99.7", "jpeg2000", "lossless", "right", "eight"),
        *("raster.png", "raster.tif"),  # which would share a name
    }
    shape = confidential_dicom.phantom().pixels.shape
    for name in names:
        mask, prob, overlay, heat = (read(output / kind / f"{name}.png") for kind in KINDS)
        assert mask.shape == prob.shape == shape
        assert set(np.unique(mask)) <= {0, 255}
        assert overlay.shape == heat.shape == (*shape, 3)
        np.testing.assert_array_equal(mask == 255, prob > round(0.3 * 255 - 0.5))
        with Image.open(output / "probabilities_float" / f"{name}.tif") as image:
            np.testing.assert_array_equal(mask == 255, np.asarray(image) > np.float32(0.3))
            np.testing.assert_allclose(np.asarray(image), prob / 255, atol=0.5 / 255 + 1e-6)
    for kind in ("segmentations", "reports"):
        assert sorted(path.name for path in (output / kind).rglob("*.dcm")) == sorted(
            f"{Path(name).name}.dcm" for name in names if "raster" not in name and name != "eight"
        )


def test_contours_and_reports_agree_with_the_table(output: Path) -> None:
    """Each mass of the table is in coco.json, and those of DICOM images are in a Structured Report."""
    rows = [row for row in table(output) if row["mass"]]
    coco = json.loads((output / "coco.json").read_text())
    files = {image["id"]: image["file_name"] for image in coco["images"]}
    assert sorted(files.values()) == sorted({row["file"] for row in table(output)})
    assert [files[annotation["image_id"]] for annotation in coco["annotations"]] == [row["file"] for row in rows]
    for row, annotation in zip(rows, coco["annotations"], strict=True):
        assert str(annotation["area"]) == row["area_pixels"]
        assert f"{annotation['score']:.4f}" == row["score"]
        left, top, width, height = annotation["bbox"]
        assert left <= float(row["x"]) + 0.5 <= left + width
        assert top <= float(row["y"]) + 0.5 <= top + height
        if row["spacing_from"]:
            report: Any = sr.srread(output / "reports" / f"{row['name']}.dcm")
            group = report.content.get_planar_roi_measurement_groups()[int(row["mass"]) - 1]
            area, certainty = group.get_measurements()
            assert f"{area.value:.2f}" == row["area_mm2"]
            assert certainty.value == pytest.approx(100 * float(row["probability"]), abs=0.011)


def test_examples_of_the_documentation_run(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "predict.md"
    coco_example, report_example = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(output.parent)
    exec(compile(coco_example.replace("predictions/", "out/"), str(page), "exec"), {})
    n_masses = sum(bool(row["mass"]) for row in table(output))
    assert capsys.readouterr().out.count("\n") == n_masses > 0
    report = report_example.replace("predictions/", "out/").replace("mammogram", "plain")
    exec(compile(report, str(page), "exec"), {})
    assert "Area: " in capsys.readouterr().out


def test_examinations_of_a_table(best: Path, mammograms: Path, tmp_path: Path) -> None:
    """A table of examinations can be added later; the images are not predicted again."""
    assert "1 image predicted, " in predict_images(best, mammograms / "raster.png", tmp_path / "out")
    assert table(tmp_path / "out", "exams.csv") == []
    previous = (tmp_path / "out" / "masks" / "raster.png").stat().st_mtime_ns
    (tmp_path / "exams.csv").write_text("file,exam,side,view\nraster.png,visit 1,left,CC\n")
    predict_images(best, mammograms / "raster.png", tmp_path / "out", exams=tmp_path / "exams.csv")
    assert (tmp_path / "out" / "masks" / "raster.png").stat().st_mtime_ns == previous
    rows = [(row["exam"], row["level"], row["side"], row["views"]) for row in table(tmp_path / "out", "exams.csv")]
    assert rows == [("visit 1", "breast", "L", "CC"), ("visit 1", "exam", "", "CC")]
    assert {(row["exam"], row["side"]) for row in table(tmp_path / "out")} == {("visit 1", "L")}
    (tmp_path / "exams.csv").write_text("file,exam\nother.png,1\n")
    with pytest.raises(UserError, match="none matches"):
        predict_images(best, mammograms / "raster.png", tmp_path / "other", exams=tmp_path / "exams.csv")
    assert not (tmp_path / "other").exists()


def test_the_file_format_does_not_affect_the_prediction(output: Path) -> None:
    reference = read(output / "probabilities" / "plain.png")
    assert (np.percentile(reference, [50, 99.5]) > [20, 200]).tolist() == [False, True], (
        "the comparison must not be trivial"
    )
    for name in ("visit/inverted", "visit/1.2.840.99.7", "jpeg2000", "lossless", "raster.png", "raster.tif"):
        np.testing.assert_array_equal(read(output / "probabilities" / f"{name}.png"), reference, err_msg=name)
    eight = read(output / "probabilities" / "eight.png").astype(int)
    assert np.abs(eight - reference).mean() < 3, "8 bits, and JPEG artefacts"


def test_the_table_agrees_with_the_masks(output: Path) -> None:
    rows = table(output)
    assert any(0 < int(row["area_pixels"]) < 20_000 for row in rows), "the comparison must not be trivial"
    for name in {row["name"] for row in rows}:
        image_rows = [row for row in rows if row["name"] == name]
        mask, prob = read(output / "masks" / f"{name}.png") > 0, read(output / "probabilities" / f"{name}.png") / 255
        n_labels, labels, _, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        assert {row["masses"] for row in image_rows} == {str(n_labels - 1)}
        assert float(image_rows[0]["highest_probability"]) == pytest.approx(prob.max(), abs=0.003)
        if n_labels == 1:
            assert [row["mass"] for row in image_rows] == [""]
            continue
        assert [row["mass"] for row in image_rows] == [str(index) for index in range(1, n_labels)]
        for row in image_rows:
            label = int(np.hypot(*(centres[1:] - [float(row["x"]), float(row["y"])]).T).argmin()) + 1
            assert int(row["area_pixels"]) == (labels == label).sum()
            assert float(row["probability"]) == pytest.approx(prob[labels == label].mean(), abs=0.003)
            assert row["uncertainty"] == "", "one network, no mirrored images"


def test_view_side_and_area_come_from_the_header(output: Path) -> None:
    rows = {row["name"]: row for row in table(output)}
    plain, right, raster = rows["plain"], rows["right"], rows["raster.png"]
    assert (plain["view"], plain["side"], right["side"]) == ("CC", "L", "R")
    assert (raster["view"], raster["side"], raster["spacing_from"], raster["area_mm2"]) == ("", "", "", "")
    assert plain["spacing_from"] == "ImagerPixelSpacing"
    area = int(plain["area_pixels"]) * confidential_dicom.SPACING**2
    assert float(plain["area_mm2"]) == pytest.approx(area, abs=0.01)
    assert "EstimatedRadiographicMagnificationFactor" in right["spacing_from"]
    assert float(right["spacing_across_mm"]) == pytest.approx(confidential_dicom.SPACING / 1.25)


def test_unusable_files_are_listed_with_reasons(output: Path) -> None:
    reasons = {row["file"]: row["reason"] for row in table(output, "skipped.csv")}
    expected = {
        "unusable/empty.dcm": "empty",
        "unusable/empty.png": "empty",
        "unusable/cut.dcm": "truncated",
        "unusable/photo.png": "colour",
        "unusable/tiny.png": "40x40",
        "unusable/black.png": "grey value",
        "unusable/mask.png": "2 grey values",
    }
    assert reasons.keys() == expected.keys()
    for file, text in expected.items():
        assert text in reasons[file], file
    log = (output / "log.txt").read_text()
    assert all(file in log for file in expected)


def test_segmentations_refer_to_their_images_and_contain_their_masks(output: Path, mammograms: Path) -> None:
    for row in table(output):
        if not (output / "segmentations" / f"{row['name']}.dcm").is_file():
            continue
        segmentation = highdicom.seg.segread(output / "segmentations" / f"{row['name']}.dcm")
        image = pydicom.dcmread(mammograms / row["file"], stop_before_pixels=True)
        frames = segmentation.get_pixels_by_source_instance([image.SOPInstanceUID])
        np.testing.assert_array_equal(frames[0, :, :, 0] > 0, read(output / "masks" / f"{row['name']}.png") > 0)


def test_no_planted_information_is_written(output: Path, mammograms: Path) -> None:
    assert confidential_dicom.leaks(mammograms) != [], "the search itself must work"
    assert confidential_dicom.leaks(output) == []
    path_text = str(mammograms.parent).encode()
    assert not [path for path in output.rglob("*") if path.is_file() and path_text in path.read_bytes()]


def test_predictions_equal_those_of_the_run(best: Path, trained: Path, tmp_path: Path) -> None:
    """Predicting the original files gives the masks of the run's test on preprocessed images."""
    root = next((trained.parent / "data").glob("phantom-*"))
    predict_images(best, root, tmp_path / "out", segmentation="none", batch_size=3)
    assert not (tmp_path / "out" / "segmentations").exists()
    tested = read_predictions(trained / "predictions.npz").by_case
    store = next(path.parent for path in (trained.parent / "data").rglob("cases.csv"))
    cases = {row["case"]: row for row in table(store, "cases.csv")}
    n_pixels = 0
    for case, expected in tested.items():
        (path,) = (tmp_path / "out" / "masks").rglob(f"{case}_*.png")
        row = cases[case]
        box = read(path)[int(row["top"]) : int(row["bottom"]), int(row["left"]) : int(row["right"])]
        small = cv2.resize(box / 255, (64, 64), interpolation=cv2.INTER_AREA) > 0.5
        assert (small != expected).sum() <= 0.15 * expected.sum() + 4, case
        n_pixels += expected.sum()
    assert n_pixels > 50, "the comparison must not be trivial"


def test_an_ensemble_with_tta_writes_its_uncertainty(
    best: Path, sibling: Path, mammograms: Path, tmp_path: Path
) -> None:
    image, options = mammograms / "plain.dcm", {"threshold": 0.3, "segmentation": "none", "tta": True}
    predict_images([best, sibling], image, tmp_path / "out", **options)
    mean, uncertainty = (read(tmp_path / "out" / kind / "plain.png") for kind in ("probabilities", "uncertainty"))
    mask = read(tmp_path / "out" / "masks" / "plain.png") > 0
    row = table(tmp_path / "out")[0]
    assert uncertainty.max() > 5
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1]
    largest = labels == np.bincount(labels[mask]).argmax()
    assert float(row["uncertainty"]) == pytest.approx(uncertainty[largest].mean() / 255 / 2, abs=0.002)
    single = []
    for index, path in enumerate((best, sibling)):
        predict_images(path, image, tmp_path / f"single{index}", **options)
        single.append(read(tmp_path / f"single{index}" / "probabilities" / "plain.png").astype(float))
    np.testing.assert_allclose(mean, np.mean(single, axis=0), atol=1.01)
    assert np.abs(single[0] - single[1]).max() > 2


def test_a_second_call_predicts_new_images_only(best: Path, mammograms: Path, tmp_path: Path) -> None:
    folder = tmp_path / "input"
    folder.mkdir()
    for name in ("plain.dcm", "raster.png"):
        (folder / name).write_bytes((mammograms / name).read_bytes())
    predict_images(best, folder, folder / "out")
    previous = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*.png")}
    (folder / "raster.tif").write_bytes((mammograms / "raster.tif").read_bytes())
    assert "2 of 3 images" in predict_images(best, folder, folder / "out")
    current = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*.png")}
    assert previous.items() < current.items()
    assert list(dict.fromkeys(row["name"] for row in table(folder / "out"))) == ["plain", "raster", "raster.tif"]
    assert "3 of 3" in predict_images(best, folder, folder / "out")
    with pytest.raises(UserError, match="tta"):
        predict_images(best, folder, folder / "out", tta=True)
    with pytest.raises(UserError, match="input"):
        predict_images(best, mammograms, folder / "out")


def test_an_interrupted_prediction_resumes_to_the_same_files(best: Path, tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    rng, phantom = np.random.default_rng(0), confidential_dicom.phantom().pixels
    for index in range(IMAGES):
        pixels = np.clip(phantom + rng.integers(-60, 60, phantom.shape), 0, 4095)
        assert cv2.imwrite(str(tmp_path / "input" / f"{index:02}.png"), pixels.astype(np.uint16))
    # Batches of one, because rounding depends on the other images of a batch.
    arguments = (f"ckpt_path={best}", "input=input", "threshold=0.3", "batch_size=1", "accelerator=cpu")
    predict_images(best, tmp_path / "input", tmp_path / "uninterrupted", threshold=0.3, batch_size=1)
    journal = tmp_path / "killed" / ".journal.jsonl"
    for signum, status in ((signal.SIGKILL, -9), (signal.SIGINT, 130)):
        n_lines = count_lines(journal) + 3
        program = [sys.executable, "-m", "helpers.interrupted_predict", "3", str(int(signum))]
        completed = subprocess.run(
            [*program, *arguments, "output=killed"],
            cwd=tmp_path,
            env=environment(),
            text=True,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        output = completed.stdout + completed.stderr
        assert completed.returncode == status, output
        assert "Traceback" not in output
        assert n_lines <= count_lines(journal) < IMAGES
        for path in (tmp_path / "killed").rglob("*.png"):
            read(path)
    assert f"of {IMAGES} images" in succeed("predict", *arguments, "output=killed", folder=tmp_path)
    uninterrupted, killed, suffixes = tmp_path / "uninterrupted", tmp_path / "killed", (".png", ".csv", ".json")
    files = sorted(path.relative_to(uninterrupted) for path in uninterrupted.rglob("*") if path.suffix in suffixes)
    assert files == sorted(path.relative_to(killed) for path in killed.rglob("*") if path.suffix in suffixes)
    assert len(files) == IMAGES * (len(KINDS) + len(["contours"])) + len(TABLES)
    for file in files:
        assert (uninterrupted / file).read_bytes() == (killed / file).read_bytes(), file


def count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def test_a_full_disk_is_reported(best: Path, mammograms: Path, tmp_path: Path) -> None:
    arguments = (f"ckpt_path={best}", f"input={mammograms}", "output=out")
    completed = run_process("predict", *arguments, folder=tmp_path, limit_file_size_kib=8)
    assert completed.returncode == 2, completed.stderr
    assert "Traceback" not in completed.stderr
    assert "output" in completed.stderr
    assert not list((tmp_path / "out").rglob(f"{TMP_PREFIX}*"))
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix == ".dcm":
            pydicom.dcmread(path)
        if path.suffix == ".png":
            read(path)
    predict_images(best, mammograms, tmp_path / "out")
    assert len({row["file"] for row in table(tmp_path / "out")}) == 9


def test_invalid_arguments_are_reported(best: Path, mammograms: Path, tmp_path: Path) -> None:
    out, junk = tmp_path / "out", tmp_path / "junk.ckpt"
    junk.write_bytes(b"PK\3\4 junk")
    for arguments, options, expected in (
        ((junk, mammograms), {}, "junk.ckpt"),
        ((tmp_path / "absent.ckpt", mammograms), {}, "absent.ckpt"),
        ((best, tmp_path / "absent"), {}, "absent"),
        ((best, mammograms), {"segmentation": "yes"}, "segmentation.*yes"),
        ((best, mammograms), {"threshold": 50}, "threshold.*50"),
        ((best, mammograms), {"batch_size": 0}, "batch_size.*0"),
        ((best, mammograms), {"accelerator": "abacus"}, "accelerator.*abacus"),
    ):
        with pytest.raises(UserError, match=expected):
            predict_images(*arguments, out, **options)
        assert not out.exists()
    with pytest.raises(UserError, match=r"junk\.ckpt"):
        predict_images(best, mammograms, junk)
    assert junk.read_bytes() == b"PK\3\4 junk"


def test_without_any_usable_file_the_exit_status_is_2(best: Path, mammograms: Path, tmp_path: Path) -> None:
    completed = run("predict", f"ckpt_path={best}", f"input={mammograms}/unusable", "output=none", folder=tmp_path)
    assert completed.returncode == 2
    assert completed.stderr.count("\n") == 1
    assert "none/skipped.csv" in completed.stderr
    assert len(table(tmp_path / "none", "skipped.csv")) == 7


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_reported(best: Path, mammograms: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    completed = run("predict", f"ckpt_path={best}", f"input={mammograms}", "output=closed/out", folder=tmp_path)
    assert completed.returncode == 2
    assert "check the permissions" in completed.stderr


def test_a_dicom_without_uids_has_all_output_files_except_a_segmentation(best: Path, tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    confidential_dicom.write(tmp_path / "input" / "a.dcm")
    header = pydicom.dcmread(tmp_path / "input" / "a.dcm")
    del header.SeriesInstanceUID
    header.save_as(tmp_path / "input" / "a.dcm")
    for _ in range(2):
        log = predict_images(best, tmp_path / "input", tmp_path / "out")
        assert "DICOM Segmentation" in log
        (row,) = table(tmp_path / "out", "skipped.csv")
        assert "SeriesInstanceUID" in row["reason"]
    assert (tmp_path / "out" / "masks" / "a.png").is_file()
    assert not (tmp_path / "out" / "segmentations").exists()


def test_for_processing_images_are_skipped_by_default(best: Path, tmp_path: Path) -> None:
    """Changing the setting updates the same folder. One-frame tomosynthesis, gzip and PGM images are predicted."""
    folder, output = tmp_path / "input", tmp_path / "output"
    confidential_dicom.write(folder / "raw.dcm", StudyInstanceUID="1.2.3", PresentationIntentType="FOR PROCESSING")
    confidential_dicom.write(
        folder / "processed.dcm", StudyInstanceUID="1.2.3", PresentationIntentType="FOR PRESENTATION"
    )
    confidential_dicom.write(
        folder / "tomosynthesis.dcm", SOPClassUID=BreastTomosynthesisImageStorage, NumberOfFrames=1
    )
    compressed = gzip.compress((folder / "processed.dcm").read_bytes())
    (folder / "gzip.dcm.gz").write_bytes(compressed)
    assert cv2.imwrite(str(folder / "mdb001.pgm"), confidential_dicom.phantom().pixels)
    confidential_dicom.write(folder / "ct.dcm", Modality="CT")
    predicted = {"processed", "tomosynthesis", "gzip", "mdb001"}
    for mode, expected in (("auto", predicted), ("include", {*predicted, "raw"}), ("auto", predicted)):
        predict_images(best, folder, output, for_processing=mode)
        assert {row["name"] for row in table(output)} == expected
        reasons = {row["file"]: row["reason"] for row in table(output, "skipped.csv")}
        assert ("for_processing=include" in reasons.pop("raw.dcm", "")) == (mode == "auto")
        assert reasons == {"ct.dcm": "Modality CT, not a mammogram (MG)"}
        assert (output / "masks" / "raw.png").is_file() == (mode == "include")
    assert {path.stem for path in (output / "segmentations").iterdir()} == predicted - {"mdb001"}
    assert confidential_dicom.leaks(output) == []


def test_identified_segmentations_contain_the_patient(best: Path, tmp_path: Path) -> None:
    confidential_dicom.write(tmp_path / "a.dcm")
    predict_images(best, tmp_path / "a.dcm", tmp_path / "out", segmentation="identified")
    leaks = confidential_dicom.leaks(tmp_path / "out")
    assert leaks
    assert all("segmentations" in leak for leak in leaks), leaks
    provenance = json.loads((tmp_path / "out" / "predictions.json").read_text())["made_of"]
    assert provenance["segmentation"] == "identified"


def test_a_checkpoint_with_untrusted_code_is_rejected(tmp_path: Path, best: Path) -> None:
    loaded = torch.load(best, weights_only=True)
    loaded["mammoseg"]["config"]["model"]["_target_"] = "os.system"
    torch.save(loaded, tmp_path / "malicious.ckpt")
    confidential_dicom.write(tmp_path / "a.dcm")
    with pytest.raises(UserError, match=r"os\.system"):
        predict_images(tmp_path / "malicious.ckpt", tmp_path / "a.dcm", tmp_path / "out")
