"""Synthetic datasets in the layout of INbreast: format, atomic creation, reproducibility."""

from __future__ import annotations

import hashlib
import plistlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

from mammoseg.data.readers.inbreast import read
from mammoseg.data.readers.mammogram import RejectedCases
from mammoseg.errors import UserError
from mammoseg.phantom.anatomy import Phantom
from mammoseg.phantom.cbis_ddsm_specs import sample_cbis_ddsm_specs
from mammoseg.phantom.write import calcification_near_mass, sample_inbreast_specs, write_inbreast

CASES = 14


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "INbreast"
    write_inbreast(folder, cases=CASES, seed=1, height=208)
    return folder


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_reader_returns_every_image_with_a_mass(root: Path) -> None:
    rejected = RejectedCases()
    mammograms = read(root, rejected)
    planned = {image.case: image for image in sample_inbreast_specs(CASES, 1) if image.masses}
    assert not rejected.rows
    assert {mammogram.case for mammogram in mammograms} == set(planned)
    for mammogram in mammograms:
        image = planned[mammogram.case]
        for name in ("patient", "density", "side", "view"):
            assert getattr(mammogram, name) == getattr(image, name)
        assert mammogram.masses == image.masses == len(mammogram.outlines)


def test_dicom_attributes_are_those_of_inbreast(root: Path) -> None:
    for path in (root / "AllDICOMs").iterdir():
        name = re.fullmatch(r"(\d{8})_([0-9a-f]{16})_MG_([LR])_(CC|ML)_ANON\.dcm", path.name)
        assert name, path.name
        dicom = pydicom.dcmread(path)
        assert dicom.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1.2"
        assert (dicom.Modality, dicom.PhotometricInterpretation) == ("MG", "MONOCHROME2")
        assert (dicom.BitsAllocated, dicom.BitsStored, dicom.Rows, dicom.Columns) == (16, 12, 208, 160)
        assert dicom.ImageLaterality == name[3]
        assert dicom.ViewPosition == {"ML": "MLO"}.get(name[4], name[4])
        assert float(dicom.ImagerPixelSpacing[0]) * dicom.Rows == pytest.approx(233, rel=1e-4)
        assert dicom.pixel_array.max() <= 4095
        assert not str(dicom.PatientName)


def test_outlines_have_all_keys_of_osirix(root: Path) -> None:
    keys = [
        "Area",
        "Center",
        "Dev",
        "IndexInImage",
        "Max",
        "Mean",
        "Min",
        "Name",
        "NumberOfPoints",
        "Point_mm",
        "Point_px",
        "Total",
        "Type",
    ]
    for path in (root / "AllXML").iterdir():
        (image,) = plistlib.loads(path.read_bytes())["Images"]
        assert image["NumberOfROIs"] == len(image["ROIs"])
        for region in image["ROIs"]:
            assert sorted(region) == keys
            assert region["NumberOfPoints"] == len(region["Point_px"]) == len(region["Point_mm"])
            points = np.array([point.strip("()").split(",") for point in region["Point_px"]], float)
            assert points.shape == (region["NumberOfPoints"], 2)
            if region["Name"] == "Mass":  # the shoelace formula, in cm2
                spacing = 23.3 / 208
                x, y = (points * spacing).T
                area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
                perimeter = np.hypot(np.diff(x, append=x[0]), np.diff(y, append=y[0])).sum()
                # Pixels at the border are filled, on average half of which are outside.
                assert region["Area"] == pytest.approx(area + perimeter * spacing / 2, abs=perimeter * spacing / 2)


def test_the_table_has_the_format_of_the_release(root: Path) -> None:
    content = (root / "INbreast.csv").read_bytes()
    heading, *rows = content.decode("ascii").removesuffix("\r\n").split("\r\n")
    assert heading == "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
    assert len(rows) == len(list((root / "AllDICOMs").iterdir())) > len(list((root / "AllXML").iterdir())) == CASES
    for row in rows:
        assert re.fullmatch(r"removed;removed;[LR];(CC|MLO);20\d{4};\d{8};[1-4];(1|4a|4c|5)", row), row


def test_the_bytes_depend_only_on_the_seed(root: Path, tmp_path: Path) -> None:
    write_inbreast(tmp_path / "same_seed", cases=CASES, seed=1, height=208)
    assert digest(tmp_path / "same_seed") == digest(root)
    write_inbreast(tmp_path / "other", cases=CASES, seed=2, height=208)
    assert digest(tmp_path / "other") != digest(root)


def test_every_density_occurs_and_each_patient_has_one_density() -> None:
    images = sample_inbreast_specs(40, 0)
    assert sum(image.masses > 0 for image in images) == 40
    assert {image.density for image in images if image.masses} == {1, 2, 3, 4}
    density = {image.patient: image.density for image in images}
    assert all(density[image.patient] == image.density for image in images)
    assert len({image.case for image in images}) == len(images)


def test_calcifications_are_in_the_image_if_their_mass_is_at_its_edge() -> None:
    outline = np.array([[59.0, 79.0], [57.0, 79.0], [59.0, 77.0]])
    phantom = Phantom(np.zeros((80, 60), np.uint16), (outline,), np.ones((80, 60), bool), 0.5)
    points = np.concatenate([calcification_near_mass(np.random.default_rng(seed), phantom) for seed in range(50)])
    assert (points >= 0).all()
    assert (points <= [59, 79]).all()
    assert len(np.unique(points, axis=0)) > 10


def test_an_existing_folder_is_not_modified(tmp_path: Path) -> None:
    (tmp_path / "existing").write_text("content")
    with pytest.raises(UserError, match="written into an empty or new folder"):
        write_inbreast(tmp_path, cases=8, height=208)
    assert [path.name for path in tmp_path.iterdir()] == ["existing"]


def test_a_failed_write_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mammoseg.phantom.write.write_inbreast_table", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_inbreast(tmp_path / "root", cases=8, height=208)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["root=out", "layout=dicomdir"], "layout must be one of inbreast"),
        ([], "root is required"),
        (["root=out", "cases=3"], "cases must be an integer from 8"),
        (["root=out", "height=20"], "height must be an integer from 128"),
    ],
)
def test_invalid_arguments_of_the_command_are_user_errors(tmp_path: Path, arguments: list[str], message: str) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "mammoseg.phantom", *arguments],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 2
    assert message in completed.stderr
    assert "Traceback" not in completed.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.75])
def test_a_fraction_of_the_images_has_no_mass(fraction: float) -> None:
    for specs in (sample_inbreast_specs(30, 1, fraction), sample_cbis_ddsm_specs(30, 1, fraction)):
        with_mass = sum(image.masses > 0 for image in specs)
        assert with_mass == 30
        assert (len(specs) - with_mass) / len(specs) == pytest.approx(fraction, abs=0.5 / 38)


def test_an_invalid_fraction_of_images_without_a_mass_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"negatives must be .* got 1"):
        write_inbreast(tmp_path / "new", cases=8, height=128, negatives=1)
    assert not (tmp_path / "new").exists()
