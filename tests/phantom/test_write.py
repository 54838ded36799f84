"""Phantoms in INbreast's layout: exact, whole or not there, and the same bytes for the same seed."""

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
from mammoseg.phantom.write import plan, write_inbreast

CASES = 14


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "INbreast"
    write_inbreast(folder, cases=CASES, seed=1, height=208)
    return folder


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_real_reader_finds_every_mass_image(root: Path) -> None:
    bad = RejectedCases()
    mammograms = read(root, bad)
    planned = {image.number: image for image in plan(CASES, 1) if image.masses}
    assert not bad.rows
    assert {m.case for m in mammograms} == set(planned)
    for m in mammograms:
        image = planned[m.case]
        assert (m.patient, m.density, m.side, m.view) == (image.patient, image.density, image.side, image.view)
        assert m.masses == image.masses == len(m.outlines)


def test_dicoms_carry_what_a_mammogram_must(root: Path) -> None:
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


def test_outlines_have_every_key_of_osirix(root: Path) -> None:
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
                x, y = (points * 23.3 / 208).T
                area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
                assert region["Area"] == pytest.approx(area, rel=0.25)


def test_the_table_is_in_the_releases_form(root: Path) -> None:
    content = (root / "INbreast.csv").read_bytes()
    heading, *rows = content.decode("ascii").removesuffix("\r\n").split("\r\n")
    assert heading == "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"
    assert len(rows) == len(list((root / "AllDICOMs").iterdir())) > len(list((root / "AllXML").iterdir())) == CASES
    for row in rows:
        assert re.fullmatch(r"removed;removed;[LR];(CC|MLO);20\d{4};\d{8};[1-4];(1|4a|4c|5)", row), row


def test_the_same_seed_gives_the_same_bytes_however_many_processes_draw(root: Path, tmp_path: Path) -> None:
    # 14 + 1 images are drawn in this process, twice as many in several: compare what both draw.
    write_inbreast(tmp_path / "again", cases=CASES, seed=1, height=208)
    assert digest(tmp_path / "again") == digest(root)
    write_inbreast(tmp_path / "other", cases=CASES, seed=2, height=208)
    assert digest(tmp_path / "other") != digest(root)


def test_every_density_is_there_and_a_patient_has_one() -> None:
    images = plan(40, 0)
    assert sum(image.masses > 0 for image in images) == 40
    assert {image.density for image in images if image.masses} == {1, 2, 3, 4}
    density = {image.patient: image.density for image in images}
    assert all(density[image.patient] == image.density for image in images)
    assert len({image.number for image in images}) == len(images)


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UserError, match="something is there already"):
        write_inbreast(tmp_path, cases=8, height=208)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mammoseg.phantom.write.write_table", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_inbreast(tmp_path / "root", cases=8, height=208)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["root=out", "layout=dicomdir"], "layout must be one of inbreast"),
        ([], "root is not set"),
        (["root=out", "cases=3"], "cases must be an integer of at least 8, got 3"),
        (["root=out", "height=20"], "height must be an integer of at least 128, got 20"),
    ],
)
def test_the_command_tells_a_mistake_in_a_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mammoseg.phantom", *arguments],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
