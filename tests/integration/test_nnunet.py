"""Comparison with nnU-Net: export of a dataset in its format, and evaluation of masks that it predicted."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.commands import SMALL, assert_one_sentence, run, succeed
from helpers.results_files import write_run
from mammoseg.data.split import PatientKFold
from mammoseg.data.store import PreparedStore
from mammoseg.runs.predictions import read_detections, read_predictions
from mammoseg.runs.results import read_results

DATASET = ["dataset=phantom", *SMALL[:4]]
FOLD = 1


@pytest.fixture(scope="module")
def exported(workdir: Path) -> Path:
    """The phantoms in the format of nnU-Net."""
    succeed("export", "format=nnunet", *DATASET, f"split.fold={FOLD}", "output=raw", "dataset_id=42", folder=workdir)
    return workdir / "raw" / "Dataset042_phantom"


@pytest.fixture(scope="module")
def store(exported: Path) -> PreparedStore:
    (folder,) = {
        path.parent
        for path in (exported.parents[1] / "data" / "prepared").glob("phantom-*/about.json")
        if json.loads(path.read_text())["size"] == 64
    }
    return PreparedStore.open(folder)


def rows_of(exported: Path) -> dict[str, dict[str, str]]:
    """Rows of case_names.csv by case."""
    with (exported / "case_names.csv").open() as lines:
        return {row["case"]: row for row in csv.DictReader(lines)}


def read_png(path: Path) -> NDArray[np.int64]:
    return np.asarray(Image.open(path)).astype(np.int64)


def names_in(folder: Path, suffix: str = ".png") -> set[str]:
    return {path.name.removesuffix(suffix) for path in folder.iterdir()}


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_images_and_masks_are_those_of_the_store(exported: Path, store: PreparedStore, part: str) -> None:
    rows, suffix = rows_of(exported), "Ts" if part == "test" else "Tr"
    cases = [case for case, row in rows.items() if row["part"] == part]
    assert cases
    for case in cases:
        index = [stored.case for stored in store.cases].index(case)
        image = read_png(exported / f"images{suffix}" / f"{rows[case]['name']}_0000.png")
        assert image.max() == 65535
        np.testing.assert_allclose(image / 65535, store.images[index], atol=0.5 / 65535 + 1e-6)
        np.testing.assert_array_equal(
            read_png(exported / f"labels{suffix}" / f"{rows[case]['name']}.png"), store.masks[index]
        )


def test_parts_are_those_of_our_split(exported: Path, store: PreparedStore) -> None:
    split = PatientKFold(folds=5, fold=FOLD, assignment="balanced")(store.cases)
    rows = rows_of(exported)
    names = {
        part: [rows[store.cases[index].case]["name"] for index in indices.tolist()]
        for part, indices in split.parts().items()
    }
    (fold,) = json.loads((exported / "splits_final.json").read_text())
    assert fold == {"train": names["train"], "val": names["val"]}
    assert names_in(exported / "imagesTs", "_0000.png") == names_in(exported / "labelsTs") == {*names["test"]}
    patients = {part: {row["patient"] for row in rows.values() if row["part"] == part} for part in split.parts()}
    assert not patients["train"] & patients["test"]


def test_the_layout_is_that_of_nnunet(exported: Path) -> None:
    description = json.loads((exported / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, "mass": 1}
    assert description["channel_names"] == {"0": "mammogram"}
    assert description["file_ending"] == ".png"
    images = names_in(exported / "imagesTr", "_0000.png")
    (fold,) = json.loads((exported / "splits_final.json").read_text())
    assert images == names_in(exported / "labelsTr") == {*fold["train"], *fold["val"]}
    assert len(images) == description["numTraining"] == len(fold["train"]) + len(fold["val"])
    assert str(exported.parents[1]) not in (exported / "dataset.json").read_text()
    if importlib.util.find_spec("nnunetv2") is not None:
        module = importlib.import_module("nnunetv2.experiment_planning.verify_dataset_integrity")
        module.verify_dataset_integrity(str(exported), num_processes=1)


def test_the_official_split_is_exported(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for index, part in enumerate(("train",) * 6 + ("val",) * 2 + ("test",) * 2 + ("",)):
        image = rng.integers(20, 200, (64, 48)).astype(np.uint8)
        mask = np.zeros_like(image)
        mask[20:30, 10:20] = 255
        Image.fromarray(image).save(tmp_path / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / f"{index}_mask.png")
        rows.append(f"={index},{index}.png,{index}_mask.png,p{index},{1 + index % 4},{part}")
    (tmp_path / "cases.csv").write_text("\n".join(["case,image,mask,patient,density,split", *rows]))
    arguments = ["dataset=folder", f"dataset.root={tmp_path}", "dataset.size=32", "split=official", "dataset.crop=none"]
    succeed("export", "format=nnunet", *arguments, "dataset.name=clinic", "output=raw", folder=tmp_path)
    folder = tmp_path / "raw" / "Dataset500_clinic"
    (fold,) = json.loads((folder / "splits_final.json").read_text())
    assert [len(fold["train"]), len(fold["val"]), len(names_in(folder / "imagesTs"))] == [6, 2, 2]
    # Names of files do not depend on the identifiers, which may be formulas.
    assert rows_of(folder)["'=9"]["name"] == "clinic_00009"


@pytest.fixture(scope="module")
def masks(exported: Path) -> Path:
    """Masks of the test images as nnU-Net writes them: the truth, moved by two pixels, next to its JSON files."""
    folder = exported.parents[1] / "predictions"
    folder.mkdir()
    for path in (exported / "labelsTs").iterdir():
        moved = np.roll(read_png(path), 2, axis=1).astype(np.uint8)
        Image.fromarray(moved).save(folder / path.name)
    (folder / "dataset.json").write_text("{}")
    return folder


def arguments_of(exported: Path, masks: Path) -> list[str]:
    names = f"case_names={exported / 'case_names.csv'}"
    return [f"masks={masks}", "name=nnU-Net", names, *DATASET, f"split.fold={FOLD}"]


@pytest.fixture(scope="module")
def evaluated(exported: Path, masks: Path, workdir: Path) -> Path:
    output = succeed("evaluate", *arguments_of(exported, masks), "hydra.run.dir=runs/masks", folder=workdir)
    assert "The masks have no probabilities, so there are no calibration and no ROC curve." in output
    return workdir / "runs" / "masks"


def test_counts_are_those_of_the_masks(evaluated: Path, exported: Path, masks: Path) -> None:
    names = {case: row["name"] for case, row in rows_of(exported).items() if row["part"] == "test"}
    rows = read_results(evaluated / "results.csv")
    assert [row["case"] for row in rows] == [*names]
    predictions = read_predictions(evaluated / "predictions.npz", [*names])
    assert predictions.quantised_probs is None
    for row in rows:
        pred = read_png(masks / f"{names[row['case']]}.png")
        true = read_png(exported / "labelsTs" / f"{names[row['case']]}.png")
        np.testing.assert_array_equal(predictions.by_case[row["case"]], pred == 1)
        expected = [int((pred * true).sum()), int((pred > true).sum()), int((pred < true).sum())]
        assert [row["tp"], row["fp"], row["fn"], row["tn"]] == [*expected, 64 * 64 - sum(expected)]
        assert row["dsc"] == pytest.approx(2 * expected[0] / (pred.sum() + true.sum()))
        assert (row["method"], row["fold"], row["seed"], row["part"]) == ("nnU-Net", str(FOLD), "0", "test")
    found = read_detections(evaluated / "detection.csv")
    assert sum(detected.masses for detected in found) >= len(rows)
    assert not (evaluated / "calibration.csv").exists()
    assert str(evaluated.parents[1]) not in (evaluated / "run.json").read_text()


def test_compare_shows_the_masks_as_another_method(evaluated: Path, tmp_path: Path) -> None:
    rows = read_results(evaluated / "results.csv")
    own = [{**row, "method": "au_net", "run": "own", "tp": row["tp"] + row["fn"], "fn": 0} for row in rows]
    for row in own:
        del row["part"]  # only in the results of masks
    settings = json.loads((evaluated / "run.json").read_text())["settings"]
    write_run(tmp_path / "runs" / "own", own, settings)
    shutil.copytree(evaluated, tmp_path / "runs" / "masks")  # in a folder with runs, where other tests are not used
    succeed("compare", "runs=runs", "output=out", "resamples=100", folder=tmp_path)
    report = (tmp_path / "out" / "report.md").read_text()
    assert "nnU-Net vs. AU-Net" in report
    assert (
        "The masks of nnU-Net were predicted by another program: the settings of its training, calibration and areas "
        "under ROC curves are unknown." in report
    )
    assert "different values of" not in report
    with (tmp_path / "out" / "secondary.csv").open() as lines:
        secondary = {row["Method"]: row for row in csv.DictReader(lines)}
    assert secondary["nnU-Net"]["calibration_error"] == "–"
    assert secondary["nnU-Net"]["masses_found"] != "–"


def test_the_training_part_is_reported_as_seen(exported: Path, workdir: Path, tmp_path: Path) -> None:
    (fold,) = json.loads((exported / "splits_final.json").read_text())
    for name in fold["train"]:
        shutil.copy(exported / "labelsTr" / f"{name}.png", tmp_path)
    output = succeed(
        "evaluate", *arguments_of(exported, tmp_path), "part=train", f"hydra.run.dir={tmp_path}/out", folder=workdir
    )
    n_images = len(fold["train"])
    assert f"{n_images} of the {n_images} test images are not independent of the training" in output
    rows = read_results(tmp_path / "out" / "results.csv")
    assert {row["seen"] for row in rows} == {"train"}
    assert {row["dsc"] for row in rows} == {1.0}


def rename_to_cases(exported: Path, folder: Path) -> None:
    for case, row in rows_of(exported).items():
        if row["part"] == "test":
            (folder / f"{row['name']}.png").rename(folder / f"{case}.png")


def test_masks_may_be_named_after_their_cases(exported: Path, masks: Path, workdir: Path, tmp_path: Path) -> None:
    shutil.copytree(masks, tmp_path / "masks")
    rename_to_cases(exported, tmp_path / "masks")
    arguments = [*arguments_of(exported, tmp_path / "masks"), "case_names=null", f"hydra.run.dir={tmp_path}/out"]
    succeed("evaluate", *arguments[:2], *arguments[3:], folder=workdir)
    assert len(read_results(tmp_path / "out" / "results.csv")) == len(names_in(tmp_path / "masks")) - 1


def damage(folder: Path, kind: str) -> None:
    path = min(folder.glob("*.png"))
    if kind == "missing":
        path.unlink()
    elif kind == "extra":
        shutil.copy(path, folder / "phantom_99999.png")
    elif kind == "size":
        Image.fromarray(np.zeros((64, 80), np.uint8)).save(path)
    elif kind == "values":
        Image.fromarray(255 * read_png(path).astype(np.uint8)).save(path)
    else:
        path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("missing", ["must contain the masks of all", "for case", "(1 missing)"]),
        ("extra", ["must contain only masks of the images of part=test, got phantom_99999.png (1 others)"]),
        ("size", ["must have the size of the prepared image, 64x64 pixels, got 80x64"]),
        ("values", ["must have the values 0 (background) and 1 (mass), got 255"]),
        ("truncated", ["the image is empty, truncated or of another format"]),
    ],
)
def test_an_invalid_mask_is_one_sentence(
    exported: Path, masks: Path, workdir: Path, tmp_path: Path, kind: str, parts: list[str]
) -> None:
    shutil.copytree(masks, tmp_path / "masks")
    damage(tmp_path / "masks", kind)
    arguments = [*arguments_of(exported, tmp_path / "masks"), f"hydra.run.dir={tmp_path}/out"]
    assert_one_sentence(run("evaluate", *arguments, folder=workdir), *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ("masks=missing", ["masks=missing: no such folder"]),
        ("part=val", ["must contain the masks of all", "of part=val"]),
        ("split.fold=2", ["must be in the part", "as in the export, got test; set the split of the export"]),
        ("dataset.normalise=zscore", ["was exported with other preprocessing"]),
        ("case_names=incomplete.csv", ["case_names=incomplete.csv: must contain case"]),
        ("case_names=missing.csv", ["case_names=missing.csv: cannot be read"]),
        ("case_names=raw/Dataset042_phantom/dataset.json", ["must be a table with the columns name, case"]),
        ("name=null", ["name must be the name of the method with masks"]),
        ("threshold=0.3", ["threshold must be null with masks, got 0.3"]),
        ("ckpt_path=latest", ["ckpt_path must be null with masks, got latest"]),
    ],
)
def test_invalid_settings_are_one_sentence(
    exported: Path, masks: Path, workdir: Path, tmp_path: Path, changed: str, parts: list[str]
) -> None:
    key = changed.partition("=")[0]
    first, *lines = (exported / "case_names.csv").read_text().splitlines(keepends=True)
    (workdir / "incomplete.csv").write_text("".join([first, *(line for line in lines if ",test," not in line)]))
    arguments = [text for text in arguments_of(exported, masks) if text.partition("=")[0] != key]
    completed = run("evaluate", *arguments, changed, f"hydra.run.dir={tmp_path}/out", folder=workdir)
    assert_one_sentence(completed, *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("command", "arguments", "parts"),
    [
        ("export", ["format=nnunet", "output=raw"], ["dataset is required with format=nnunet"]),
        ("export", ["format=nnunet", *DATASET, "output=raw", "onnx=true"], ["onnx must be false with format=nnunet"]),
        ("export", [*DATASET, "output=raw"], ["format must be nnunet to export the dataset phantom"]),
        ("export", ["output=raw"], ["ckpt_path is required"]),
        ("export", ["format=nnunet", *DATASET, "output=raw", "dataset_id=0"], ["dataset_id must be an integer"]),
        (
            "export",
            ["format=nnunet", *DATASET, "output=raw", "dataset_id=42", "dataset.name=other"],
            ["Dataset042_phantom: a dataset with dataset_id=42 already exists"],
        ),
        ("export", ["format=nnunet", *DATASET, "output=other", "split.test=both"], ["split.test must be half"]),
        ("evaluate", ["masks=x", "name=a"], ["dataset is required with masks"]),
        ("evaluate", ["ckpt_path=x", "seed=1"], ["seed must be 0 with masks=null, got 1"]),
        ("evaluate", [], ["ckpt_path is required"]),
    ],
)
def test_contradictory_settings_are_one_sentence(
    exported: Path, workdir: Path, command: str, arguments: list[str], parts: list[str]
) -> None:
    before = sorted(path.relative_to(workdir) for path in workdir.rglob("*"))
    assert_one_sentence(run(command, *arguments, folder=workdir), *parts)
    assert sorted(path.relative_to(workdir) for path in workdir.rglob("*")) == before
