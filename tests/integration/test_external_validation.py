"""Networks that were trained on one dataset are tested on another one; ensembles of the folds of a cross-validation."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.commands import assert_one_sentence, run, succeed
from helpers.phantom_folder import add_image, write_phantom_folder
from mammoseg.data.images.read import read_image
from mammoseg.data.store import PreparedStore
from mammoseg.ensemble import load_network
from mammoseg.metrics import confusion_counts
from mammoseg.runs import checkpoint, results

SETTINGS = [
    *("dataset.source.cases=20", "dataset.source.height=128", "dataset.size=32", "model.width=4", "epochs=3"),
    *("batch_size=2", "split.folds=2", "split.test=both", "trainer.accelerator=cpu", "loss=bce", "lr=0.03"),
    *("threshold=0.05", "logger=csv"),
]
PARTS = ("train", "test", "test", "val", "train", "test")
OTHER = ("dataset=folder", "dataset.root=clinic", "dataset.name=clinic")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the two folds of a cross-validation on one dataset, and another dataset.

    The latter contains a copy of a training image of the first fold in another file format.
    """
    folder = tmp_path_factory.mktemp("user-workdir")
    succeed("train", "-m", *SETTINGS, "split.fold=0,1", "hydra.sweep.dir=folds", folder=folder)
    write_phantom_folder(folder / "clinic", PARTS)
    training = [case for case, part in parts_of(folder / "folds" / "0").items() if part == "train"]
    (image,) = (folder / "data").rglob(f"{training[0]}_*.dcm")
    add_image(folder / "clinic", "copy", "P1", read_image(image)[0])
    return folder


def parts_of(folder: Path) -> dict[str, str]:
    with (folder / "split.csv").open(encoding="utf-8") as lines:
        return {row["case"]: row["part"] for row in csv.DictReader(lines)}


def evaluate(workdir: Path, name: str, *arguments: str) -> list[results.ResultRow]:
    """Run the command, and return the rows of results.csv."""
    succeed("evaluate", *arguments, f"hydra.run.dir=evaluated/{name}", folder=workdir)
    return results.read_results(workdir / "evaluated" / name / "results.csv")


def counts(rows: list[results.ResultRow]) -> dict[str, list[int]]:
    return {row["case"]: [row[name] for name in results.COUNTS] for row in rows}


def probabilities(paths: list[Path], image: torch.Tensor, flips: list[tuple[int, ...]]) -> torch.Tensor:
    """Mean probability over networks and flips, from the definition."""
    networks = [load_network(checkpoint.load_checkpoint(path), path) for path in paths]
    with torch.inference_mode():
        probs = [network(image.flip(dims)).sigmoid().flip(dims) for network in networks for dims in flips]
    return torch.stack(probs).mean(dim=0)


def expected_counts(
    workdir: Path, paths: list[Path], threshold: float, flips: list[tuple[int, ...]]
) -> dict[str, list[int]]:
    """Pixel counts of the images of the other dataset."""
    folder = min((workdir / "data" / "prepared").glob("clinic-*/"))
    store = PreparedStore.open(folder)
    assert store.about["size"] == 32
    expected = {}
    for row, case in enumerate(store.cases):
        image, mask = (torch.from_numpy(np.array(array[row]))[None, None] for array in (store.images, store.masks))
        expected[case.case] = confusion_counts(probabilities(paths, image, flips) > threshold, mask)[0].tolist()
    return expected


def best(workdir: Path, fold: int) -> list[Path]:
    return sorted((workdir / "folds" / str(fold) / "checkpoints").glob("best_*.ckpt"))


def test_another_dataset_is_tested_completely_by_default(workdir: Path) -> None:
    path = best(workdir, 0)[0]
    rows = evaluate(workdir, "other", f"ckpt_path={path}", *OTHER)
    expected = expected_counts(workdir, [path], 0.05, [()])
    assert counts(rows) == expected
    assert len({tuple(value) for value in expected.values()}) > len(expected) / 2, "the predictions are not trivial"
    assert {(row["dataset"], row["trained_on"], row["part"], row["networks"]) for row in rows} == {
        ("clinic", "phantom", "all", "1")
    }
    assert rows[0]["method"] == "au_net-bce"


def test_images_and_patients_of_the_training_are_reported(workdir: Path) -> None:
    """The copy of a training image, and the other images of its patient."""
    path = best(workdir, 0)[0]
    completed = run("evaluate", f"ckpt_path={path}", *OTHER, "hydra.run.dir=evaluated/seen", folder=workdir)
    sentence = "3 of the 13 test images are not independent of the training (1 in the training part, 2 of patients of"
    assert sentence in completed.stdout + completed.stderr
    folder = workdir / "evaluated" / "seen"
    rows = results.read_results(folder / "results.csv")
    assert {row["case"]: row["seen"] for row in rows if row["seen"] != "no"} == {
        "copy": "train",
        "1-CC": "train_patient",
        "1-MLO": "train_patient",
    }
    assert sentence in (folder / "summary.md").read_text(encoding="utf-8")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["evaluation"]["seen"] == {"train": 1, "train_patient": 2}
    for file in ("run.json", "results.csv", "summary.md"):
        assert str(workdir) not in (folder / file).read_text(encoding="utf-8")


def test_missing_prepared_images_of_the_training_are_reported(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mammoseg.evaluate.training_images.find_training_store", lambda *_: None)
    arguments = [f"ckpt_path={best(workdir, 0)[0]}", *OTHER, "part=test", "hydra.run.dir=evaluated/copies"]
    output = succeed("evaluate", *arguments, folder=workdir)
    for text in (output, (workdir / "evaluated" / "copies" / "summary.md").read_text(encoding="utf-8")):
        assert "copies of them in clinic are not recognised" in text
    assert "not independent of the training" not in output


@pytest.mark.parametrize("part", ["train", "test"])
def test_official_parts_of_another_dataset(workdir: Path, part: str) -> None:
    rows = evaluate(workdir, f"official-{part}", f"ckpt_path={best(workdir, 1)[0]}", *OTHER, f"part={part}")
    assert Counter(row["patient"] for row in rows) == {
        f"P{patient}": 3 if patient == 1 else 2 for patient, own in enumerate(PARTS) if own == part
    }


def test_a_split_of_the_command_line_replaces_the_official_one(workdir: Path) -> None:
    arguments = (f"ckpt_path={best(workdir, 1)[0]}", *OTHER, "split=patient_kfold", "split.folds=2", "split.fold=1")
    train, test = (
        {row["patient"] for row in evaluate(workdir, f"kfold-{part}", *arguments, f"part={part}")}
        for part in ("train", "test")
    )
    assert not train & test
    assert len(train) == len(PARTS) / 2


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (("dataset.size=64",), ("dataset.size must be 32", "got 64")),
        (("dataset.crop=none",), ("dataset.crop must be breast", "got none")),
        (("dataset.density=estimated",), ("dataset.density must be given", "got estimated")),
        (("dataset.name=phantom",), ("dataset.name=phantom is the name of the dataset of",)),
        (("part=val", "split=patient_kfold", "split.folds=2", "split.test=both"), ("part=val",)),
    ],
)
def test_invalid_settings_are_one_sentence(workdir: Path, settings: tuple[str, ...], parts: tuple[str, ...]) -> None:
    arguments = [f"ckpt_path={best(workdir, 0)[0]}", *OTHER, *settings, "hydra.run.dir=evaluated/invalid"]
    assert_one_sentence(run("evaluate", *arguments, folder=workdir), *parts)
    assert not (workdir / "evaluated" / "invalid").exists()


@pytest.mark.parametrize("setting", ["split=official", "split.fold=1", "dataset.negatives=all"])
def test_settings_of_another_dataset_require_its_choice(workdir: Path, setting: str) -> None:
    completed = run("evaluate", "ckpt_path=folds/0", setting, folder=workdir)
    assert_one_sentence(completed, f"{setting.partition('=')[0]} requires a choice of dataset")


def test_equal_settings_of_the_command_line_are_valid(workdir: Path) -> None:
    settings = ("dataset.size=32", "dataset.crop=true", "dataset.missing_density=drop")
    assert len(evaluate(workdir, "equal", f"ckpt_path={best(workdir, 0)[0]}", *OTHER, *settings, "part=val")) == 2


def test_threshold_and_flips(workdir: Path) -> None:
    path = best(workdir, 1)[1]
    rows = evaluate(workdir, "tta", f"ckpt_path={path}", *OTHER, "tta=true", "threshold=0.1")
    assert counts(rows) == expected_counts(workdir, [path], 0.1, [(), (2,), (3,), (2, 3)])
    own = evaluate(workdir, "own-tta", "ckpt_path=folds/1", "tta=true", "threshold=0.1")
    tested = counts(results.read_results(workdir / "folds" / "1" / "results.csv"))
    assert counts(own).keys() == tested.keys()
    assert counts(own) != tested
    assert {row["trained_on"] for row in own} == {"phantom"}


def test_an_ensemble_averages_probabilities(workdir: Path) -> None:
    """On images that none of its networks has seen."""
    paths = [best(workdir, 0)[0], best(workdir, 1)[0]]
    rows = evaluate(workdir, "ensemble", f"ckpt_path=[{paths[0]},{paths[1]}]", *OTHER, "part=val")
    expected = expected_counts(workdir, paths, 0.05, [()])
    assert counts(rows) == {row["case"]: expected[row["case"]] for row in rows}
    assert {(row["method"], row["networks"]) for row in rows} == {("au_net-bce-ensemble2", "2")}


def test_networks_with_different_thresholds_need_one_for_all(workdir: Path) -> None:
    path = best(workdir, 1)[0]
    loaded = torch.load(path, weights_only=True)
    loaded[checkpoint.PROVENANCE_KEY]["config"]["threshold"] = 0.2
    torch.save(loaded, workdir / "changed.ckpt")
    arguments = [f"ckpt_path=[{path},changed.ckpt]", *OTHER, "part=val"]
    assert_one_sentence(run("evaluate", *arguments, folder=workdir), "must have the same threshold, got [0.05, 0.2]")
    rows = evaluate(workdir, "thresholds", *arguments, "threshold=0.05")
    expected = expected_counts(workdir, [path], 0.05, [()])
    assert counts(rows) == {row["case"]: expected[row["case"]] for row in rows}


def test_folds_test_each_image_with_the_network_that_has_not_seen_it(workdir: Path) -> None:
    """The runs have tested each image with the only such network as well."""
    rows = evaluate(workdir, "folds", "ckpt_path=folds/*", "part=all")
    tested = [row for fold in ("0", "1") for row in results.read_results(workdir / "folds" / fold / "results.csv")]
    assert counts(rows) == counts(tested)
    assert len(rows) == len(tested)
    assert {(row["seen"], row["networks"]) for row in rows} == {("no", "1")}


def test_images_that_all_networks_have_seen_are_one_sentence(workdir: Path) -> None:
    arguments = ["ckpt_path=[folds/0,folds/1/checkpoints/best_half1.ckpt]", "part=all", "hydra.run.dir=evaluated/no"]
    assert_one_sentence(run("evaluate", *arguments, folder=workdir), "all 3 checkpoints have seen")
    assert not (workdir / "evaluated" / "no").exists()


@pytest.mark.parametrize(
    ("references", "parts"),
    [
        ("nothing-*", ("no checkpoint or run folder matches this pattern",)),
        ("[folds/0,folds/*]", ("must name each checkpoint once",)),
    ],
)
def test_references_are_checked(workdir: Path, references: str, parts: tuple[str, ...]) -> None:
    for command in (["evaluate"], ["predict", "input=data", "output=predicted"]):
        assert_one_sentence(run(command[0], f"ckpt_path={references}", *command[1:], folder=workdir), *parts)


def test_parts_of_the_own_dataset(workdir: Path) -> None:
    """Of the checkpoint that was selected on half 1; its training images are reported."""
    parts = parts_of(workdir / "folds" / "0")
    roles = {"train": "train", "half1": "val", "half2": "test"}
    for part in ("val", "all"):
        rows = evaluate(workdir, f"own-{part}", f"ckpt_path={best(workdir, 0)[0]}", f"part={part}")
        seen: dict[str, Any] = {case: roles[own] for case, own in parts.items() if part in ("all", roles[own])}
        assert {row["case"]: row["seen"].replace("no", "test") for row in rows} == seen


def test_a_checkpoint_without_its_run_folder_is_split_again(workdir: Path) -> None:
    path = workdir / "moved" / "checkpoints" / "model.ckpt"
    path.parent.mkdir(parents=True)
    shutil.copy(best(workdir, 0)[0], path)
    (root,) = (workdir / "data").glob("phantom-*/")
    rows = evaluate(workdir, "moved", f"ckpt_path={path}", f"dataset.root={root}", "part=all")
    seen = {"train": "train", "half1": "val", "half2": "no"}
    assert {row["case"]: row["seen"] for row in rows} == {
        case: seen[part] for case, part in parts_of(workdir / "folds" / "0").items()
    }
    other = evaluate(workdir, "moved-other", f"ckpt_path={path}", *OTHER)
    assert {row["seen"] for row in other} == {"no"}
    summary = (workdir / "evaluated" / "moved-other" / "summary.md").read_text(encoding="utf-8")
    assert "model.ckpt: its run folder is unknown, so it is not known which images it has seen." in summary


def test_native_resolution(workdir: Path) -> None:
    evaluate(workdir, "native", "ckpt_path=folds/1", *OTHER, "part=val", "native=true")
    with (workdir / "evaluated" / "native" / "native.csv").open(encoding="utf-8") as lines:
        assert {row["case"] for row in csv.DictReader(lines)} == {"3-CC", "3-MLO"}


def test_compare_shows_the_difference_between_external_and_internal_results(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mammoseg.compare.report.write_comparison_figures", lambda *_: {})  # which take seconds
    for fold in (0, 1):
        evaluate(workdir, f"compared/{fold}", f"ckpt_path=folds/{fold}", *OTHER, "part=test")
    runs = "runs=[folds,evaluated/compared]"
    output = succeed("compare", runs, "output=compared", "resamples=200", "paper=none", folder=workdir)
    assert "found runs on different test sets (clinic, phantom)" in output
    with (workdir / "compared" / "clinic" / "external.csv").open(encoding="utf-8") as lines:
        (row,) = [row for row in csv.DictReader(lines) if row["metric"].startswith("DSC")]
    assert (row["trained_on"], row["tested_on"], row["trainings"]) == ("phantom", "clinic", "2")
    values = [
        [
            100 * results.pooled_metrics(results.read_results(workdir / folder / str(fold) / "results.csv"))["dsc"]
            for fold in (0, 1)
        ]
        for folder in ("folds", "evaluated/compared")
    ]
    assert float(row["internal"]) == pytest.approx(np.mean(values[0]), abs=0.005)
    assert float(row["external"]) == pytest.approx(np.mean(values[1]), abs=0.005)
    report = (workdir / "compared" / "clinic" / "report.md").read_text(encoding="utf-8")
    assert "| phantom | clinic |" in report
    assert "The 4 p-values are exploratory and not corrected" in report
    assert not (workdir / "compared" / "phantom" / "external.csv").exists()
    assert "Trained on" not in (workdir / "compared" / "phantom" / "report.md").read_text(encoding="utf-8")
