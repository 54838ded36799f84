"""`python -m mammoseg.fit_density`: reproducible, used by prepare, and independent of test images."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from helpers.commands import run, succeed
from mammoseg.data.preprocessing.density_model import DEFAULT_MODEL
from mammoseg.data.store import read_cases
from mammoseg.phantom.cbis_ddsm import write_cbis_ddsm

SETTINGS = ("dataset=cbis_ddsm", "dataset.root=films", "dataset.workers=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with synthetic films, and the model fitted to them."""
    folder = tmp_path_factory.mktemp("fit")
    write_cbis_ddsm(folder / "films", cases=40, height=128, layout="png")
    (folder / "log").write_text(succeed("fit_density", *SETTINGS, "output=films/model.json", folder=folder))
    return folder


def test_the_model_is_reproducible_and_does_not_depend_on_test_images(folder: Path) -> None:
    table = folder / "films" / "mass_case_description_test_set.csv"
    original = table.read_text()
    with table.open(newline="") as lines:
        header, *rows = csv.reader(lines)
    column = header.index("breast_density")
    with table.open("w", newline="") as lines:
        csv.writer(lines).writerows([header, *([*row[:column], "4", *row[column + 1 :]] for row in rows)])
    output = succeed("fit_density", *SETTINGS, "output=again.json", folder=folder)
    table.write_text(original)
    assert (folder / "again.json").read_bytes() == (folder / "films" / "model.json").read_bytes()
    assert output != (folder / "log").read_text().replace("films/model.json", "again.json")


def test_the_agreement_is_printed(folder: Path) -> None:
    log = (folder / "log").read_text()
    for images in ("training images, cross-validated", "test images"):
        for unit in ("one image", "mean of the patient", "patients"):
            assert f"{images}, {unit} (" in log
    assert "quadratic kappa 0." in log


def test_prepare_uses_the_model(folder: Path) -> None:
    tables = []
    for model in ("null", "model.json"):
        succeed(
            "prepare", *SETTINGS, "dataset.size=32", f"dataset.density_model={model}", f"dataset.store=store-{model}",
            folder=folder,
        )  # fmt: skip
        (table,) = (folder / f"store-{model}").glob("cbis_ddsm-*/cases.csv")
        tables.append(read_cases(table))

    def errors(index: int) -> int:
        return sum(abs(case.density - case.estimated_density) for case in tables[index])

    assert errors(1) < errors(0)


def test_cuts_only_keeps_the_coefficients(folder: Path) -> None:
    succeed("fit_density", *SETTINGS, "output=cuts.json", "cuts_only=true", folder=folder)
    fitted, default = (json.loads(path.read_text()) for path in (folder / "cuts.json", DEFAULT_MODEL))
    assert fitted["features"] == default["features"]
    assert fitted["cuts"] != default["cuts"]


def test_a_dataset_without_densities_is_an_error(folder: Path) -> None:
    images = folder / "folder"
    images.mkdir()
    (images / "cases.csv").write_text("case,image,mask,patient,density\na,a.png,b.png,p,\n")
    (images / "a.png").write_bytes(b"")
    (images / "b.png").write_bytes(b"")
    completed = run("fit_density", "dataset=folder", "dataset.root=folder", folder=folder)
    assert completed.returncode == 2
    assert "has no training image with an ACR density" in completed.stderr + completed.stdout
    assert not (folder / "density_model.json").exists()
