"""Datasets whose masses are marked by boxes or circles are evaluated for detection, never for training or DSC."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from helpers.commands import assert_one_sentence, run, succeed
from helpers.phantom_folder import write_phantom_folder
from helpers.vindr_mammo_files import Release
from mammoseg.data.readers.mammogram import RejectedCases
from mammoseg.data.readers.mass_location import location_masks
from mammoseg.data.readers.vindr_mammo import read
from mammoseg.data.store import PreparedStore

DATASET = ("dataset=vindr_mammo", "dataset.root=VinDr-Mammo", "dataset.size=64", "dataset.workers=1")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working directory with a dataset of eight images with a mass and two without one."""
    folder = tmp_path_factory.mktemp("user-workdir")
    release = Release(folder / "VinDr-Mammo")
    for index in range(10):
        release.add_phantom(
            f"exam{index}", seed=index, n_masses=int(index < 8), split="test" if index % 2 else "training"
        )
    release.tables()
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_prepare_reports_boxes_counts_license_and_source(workdir: Path) -> None:
    output = succeed("prepare", *DATASET, "dataset.negatives=all", folder=workdir)
    (path,) = (workdir / "data" / "prepared").glob("vindr_mammo-*/cases.csv")
    store = PreparedStore.open(path.parent)
    report = json.loads((path.parent / "data_report.json").read_text(encoding="utf-8"))
    assert report["counts"]["images with a mass"] == len(report["images_for_detection_only"]) == 8
    assert report["published"]["images listed"] == {"published": 20000, "here": 10, "difference": -19990}
    assert report["mass_percent_of_full_image"] == {}
    assert (store.masks == 0).all()
    assert [case.detection_only for case in store.cases] == [case.has_mass for case in store.cases]
    (source,) = report["sources"]
    assert "physionet.org" in source["source"]
    assert "data use agreement" in output
    contact_sheet = (path.parent / "contact_sheet.png").stat().st_size
    assert contact_sheet > 10_000


@pytest.mark.parametrize("arguments", [("split=official",), ("split=patient_kfold", "split.folds=2")])
def test_training_is_refused(workdir: Path, arguments: tuple[str, ...]) -> None:
    completed = run("train", *DATASET, *arguments, "hydra.run.dir=training", folder=workdir)
    assert_one_sentence(completed, "training and pixel metrics such as DSC require outlines or masks")
    assert not (workdir / "training").exists()


def test_training_on_a_union_with_boxes_is_refused(workdir: Path) -> None:
    write_phantom_folder(workdir / "clinic", ("train", "val", "test"))
    sources = (
        "{vindr: {folder: VinDr-Mammo, reader: {_target_: mammoseg.data.readers.vindr_mammo.read, _partial_: true}}, "
        "clinic: {folder: clinic, reader: {_target_: mammoseg.data.readers.image_folder.read, _partial_: true}}}"
    )
    completed = run(
        *("train", "dataset=union", "dataset.root=.", "~dataset.reader.sources.cbis_ddsm", "dataset.size=64"),
        *("~dataset.reader.sources.inbreast", f"+dataset.reader.sources={sources}", "hydra.run.dir=training"),
        folder=workdir,
    )
    assert_one_sentence(completed, "the masses of 8 of the 14 images are only marked by boxes or circles")


def test_pixel_metrics_are_refused(workdir: Path, best: Path) -> None:
    arguments = (f"ckpt_path={best}", *DATASET[:2])
    completed = run("evaluate", *arguments, "hydra.run.dir=metrics", folder=workdir)
    assert_one_sentence(completed, "evaluate detection with mammoseg.evaluate native=true")
    assert not (workdir / "metrics").exists()


def test_detection_is_evaluated(workdir: Path, best: Path) -> None:
    arguments = (f"ckpt_path={best}", *DATASET[:2], "dataset.negatives=all", "native=true", "threshold=0.3")
    output = succeed("evaluate", *arguments, "hydra.run.dir=detection", folder=workdir)
    folder = workdir / "detection"
    assert not {"results.csv", "native.csv", "predictions.npz"} & {path.name for path in folder.iterdir()}
    rows, candidates = table(folder / "detection.csv"), table(folder / "candidates.csv")
    assert len(rows) == 10
    assert {row["seen"] for row in rows} == {"no"}
    mammograms = {m.case: m for m in read(workdir / "VinDr-Mammo", RejectedCases(), negatives=True)}
    for row in rows:
        masks = location_masks(mammograms[row["case"]].locations, 128, 96)
        points = [(round(float(c["y"])), round(float(c["x"]))) for c in candidates if c["case"] == row["case"]]
        assert int(row["masses"]) == len(masks)
        assert int(row["found"]) == sum(any(mask[point] for point in points) for mask in masks)
        assert int(row["false_positives"]) == sum(not any(mask[point] for mask in masks) for point in points)
    found = sum(int(row["found"]) for row in rows)
    masses = sum(int(row["masses"]) for row in rows)
    assert found > 0
    false_positives = np.mean([int(row["false_positives"]) for row in rows])
    assert f"{found} of {masses} masses found, {false_positives:.2f} false positives per image, 10 images" in output
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    assert "DSC |" not in summary
    assert "Lesion sensitivity" in summary
    assert (folder / "froc.png").is_file()


def test_an_evaluation_of_detection_is_not_compared(workdir: Path, best: Path) -> None:
    arguments = (f"ckpt_path={best}", *DATASET[:2], "native=true", "part=test")
    succeed("evaluate", *arguments, "hydra.run.dir=compared", folder=workdir)
    assert len(table(workdir / "compared" / "detection.csv")) == 4
    completed = run("compare", "runs=compared", folder=workdir)
    assert completed.returncode == 2, completed.stderr
    assert "skipped compared: only detection was evaluated, so there is no results.csv" in completed.stdout


def test_a_part_without_a_mass_has_no_pixel_metrics(workdir: Path, best: Path) -> None:
    release = Release(workdir / "normal-test")
    for index in range(3):
        release.add_phantom(f"exam{index}", seed=index, n_masses=int(index > 0), split="training" if index else "test")
    release.tables()
    arguments = (f"ckpt_path={best}", DATASET[0], "dataset.root=normal-test", "dataset.negatives=all", "native=true")
    succeed("evaluate", *arguments, "part=test", "hydra.run.dir=normal", folder=workdir)
    assert not {"results.csv", "native.csv"} & {path.name for path in (workdir / "normal").iterdir()}
    (row,) = table(workdir / "normal" / "detection.csv")
    assert (row["masses"], row["found"]) == ("0", "0")


def test_results_of_another_dataset_in_the_same_folder_are_removed(workdir: Path, best: Path) -> None:
    folder = workdir / "reused"
    succeed("evaluate", f"ckpt_path={best}", "hydra.run.dir=reused", folder=workdir)
    assert (folder / "results.csv").is_file()
    arguments = (f"ckpt_path={best}", *DATASET[:2], "native=true", "part=test")
    succeed("evaluate", *arguments, "hydra.run.dir=reused", folder=workdir)
    assert not {"results.csv", "predictions.npz", "calibration.csv"} & {path.name for path in folder.iterdir()}
    assert len(table(folder / "detection.csv")) == 4
