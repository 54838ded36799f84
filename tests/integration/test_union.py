"""Training on a union of two datasets, and evaluation on each of them."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from helpers.commands import assert_one_sentence, run, succeed
from helpers.phantom_folder import add_image, write_phantom_folder
from mammoseg.data.images.read import read_image
from mammoseg.phantom.write import write_inbreast
from mammoseg.runs import results

PARTS = ("train", "test", "train", "train", "test")
CLINIC = "{folder: clinic, reader: {_target_: mammoseg.data.readers.image_folder.read, _partial_: true}}"
UNION = [
    *("dataset=union", "dataset.root=data", "~dataset.reader.sources.cbis_ddsm"),
    *("dataset.reader.sources.inbreast.folder=phantom", f"+dataset.reader.sources.clinic={CLINIC}"),
]
SETTINGS = [
    *("dataset.size=32", "model.width=1", "epochs=1", "batch_size=4", "split.folds=2", "trainer.accelerator=cpu"),
    *("logger=csv", "loss=bce", "threshold=0.3"),
]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with two datasets and a run on their union."""
    folder = tmp_path_factory.mktemp("user-workdir")
    write_inbreast(folder / "data" / "phantom", cases=12, height=128)
    write_phantom_folder(folder / "data" / "clinic", PARTS)
    succeed("train", *UNION, *SETTINGS, "hydra.run.dir=trained", folder=folder)
    return folder


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_counts_add_up_and_official_parts_are_kept(workdir: Path) -> None:
    rows = read(workdir / "trained" / "split.csv")
    sizes = Counter(row["case"].partition("-")[0] for row in rows)
    assert sizes == {"inbreast": 12, "clinic": 10}
    official = {row["patient"]: row["part"] for row in rows if row["patient"].startswith("clinic-")}
    assert {patient for patient, part in official.items() if part == "test"} == {"clinic-P1", "clinic-P4"}
    tested = results.read_results(workdir / "trained" / "results.csv")
    assert Counter(row["source"] for row in tested) == Counter(
        row["case"].partition("-")[0] for row in rows if row["part"] == "test"
    )
    summary = (workdir / "trained" / "summary.md").read_text(encoding="utf-8")
    for source in ("inbreast", "clinic"):
        own = [row for row in tested if row["source"] == source]
        dsc = 100 * results.pooled_metrics(own)["dsc"]
        assert f"| {source}, pooled | {len(own)} | {dsc:.2f} |" in summary
    assert "identical" in succeed("evaluate", "ckpt_path=trained", folder=workdir)


@pytest.mark.parametrize(
    ("source", "dataset"),
    [
        ("inbreast", ("dataset=inbreast", "dataset.root=data/phantom")),
        ("clinic", ("dataset=folder", "dataset.name=clinic", "dataset.root=data/clinic")),
    ],
)
def test_evaluation_on_one_of_the_datasets(workdir: Path, source: str, dataset: tuple[str, ...]) -> None:
    """The test part is that of the union, and the other images are reported as seen."""
    counts = {}
    for part in ("test", "all"):
        folder = workdir / "evaluated" / f"{source}-{part}"
        arguments = [] if part == "test" else ["part=all"]
        succeed("evaluate", "ckpt_path=trained", *dataset, *arguments, f"hydra.run.dir={folder}", folder=workdir)
        rows = results.read_results(folder / "results.csv")
        counts[part] = {f"{source}-{row['case']}": [row[name] for name in results.COUNTS] for row in rows}
        parts = {row["case"]: row["part"] for row in read(workdir / "trained" / "split.csv")}
        assert {row["seen"].replace("no", "test") for row in rows} == {parts[case] for case in counts[part]}
    tested = results.read_results(workdir / "trained" / "results.csv")
    assert counts["test"] == {
        row["case"]: [row[name] for name in results.COUNTS] for row in tested if row["source"] == source
    }
    assert counts["all"].keys() == {case for case in parts if case.startswith(f"{source}-")}


def test_an_image_in_two_datasets_is_rejected(workdir: Path) -> None:
    image = next((workdir / "data" / "phantom").rglob("*.dcm"))
    write_phantom_folder(workdir / "data" / "copies", PARTS, seed=2)
    add_image(workdir / "data" / "copies", "copy", "P0", read_image(image)[0])
    settings = [*UNION, *SETTINGS, "dataset.reader.sources.clinic.folder=copies", "hydra.run.dir=copies"]
    completed = run("train", *settings, folder=workdir)
    assert completed.returncode == 2
    assert "the same image as case inbreast-" in completed.stderr
    assert "patient" in completed.stderr


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("dataset.reader.sources.clinic.folder=../clinic", ("dataset.reader.sources.clinic.folder must be",)),
        ("~dataset.reader.sources.inbreast", ("at least two datasets",)),
        ("+dataset.reader.sources.clinic.root=x", ("there is no setting dataset.reader.sources.clinic.root",)),
    ],
)
def test_invalid_unions_are_one_sentence(workdir: Path, setting: str, parts: tuple[str, ...]) -> None:
    union = [override for override in UNION if not setting.startswith("~") or "inbreast" not in override]
    assert_one_sentence(run("train", *union, setting, *SETTINGS, "hydra.run.dir=invalid", folder=workdir), *parts)
    assert not (workdir / "invalid").exists()
