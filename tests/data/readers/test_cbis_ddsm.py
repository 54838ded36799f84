"""CBIS-DDSM reader: published counts in every layout, and the irregularities of the real distributions."""

from __future__ import annotations

import csv
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest

from mammoseg.data.dataset import build_dataset
from mammoseg.data.images.masks import read_masks
from mammoseg.data.readers.cbis_ddsm import read
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.errors import ImageReadError, UserError
from mammoseg.phantom.cbis_ddsm import LAYOUTS, write_cbis_ddsm
from mammoseg.phantom.cbis_ddsm_specs import sample_cbis_ddsm_specs
from mammoseg.phantom.dicom import SECONDARY_CAPTURE, write_greyscale_dicom

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "cbis_ddsm"
requires_official_tables = pytest.mark.skipif(not SHARED.is_dir(), reason="the official tables are not available")
TABLES = ("mass_case_description_train_set.csv", "mass_case_description_test_set.csv")


def film() -> np.ndarray:
    y, x = np.mgrid[:48, :40]
    return np.where((y - 24) ** 2 + x**2 < 20**2, 30000 + 300 * x, 900).astype(np.uint16)


def small_mask() -> np.ndarray:
    mask = np.zeros((48, 40), np.uint8)
    mask[20:28, 4:12] = 255
    return mask


def stub_files(folder: Path) -> dict[str, bytes]:
    """Tiny DICOMs of a film, its mask and a crop of it."""
    files = {}
    for name, pixels in (("film", film()), ("mask", small_mask()), ("crop", film()[16:32, :16])):
        file = folder / f"{name}.dcm"
        write_greyscale_dicom(file, pixels, bits=8 * pixels.itemsize, uids=(name,), SOPClassUID=SECONDARY_CAPTURE)
        files[name] = file.read_bytes()
    return files


def jpeg(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def official_rows() -> list[dict[str, str]]:
    rows = []
    for table in TABLES:
        with (SHARED / table).open(newline="") as lines:
            rows += [{key: value.strip() for key, value in row.items()} for row in csv.DictReader(lines)]
    return rows


def write_file(root: Path, path: str, content: bytes) -> None:
    """Write a file with a content of its own: the path is in DICOM's preamble, or after the end of a JPEG.

    Films also have pixels of their own: the last one in DICOM files, which is uncompressed background.
    """
    unique = path.encode()[-128:].rjust(128)
    if content.endswith(film()[-1, -8:].tobytes()):
        content = content[:-2] + struct.pack("<H", zlib.crc32(unique) % 900)
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(unique + content[128:] if content[128:132] == b"DICM" else content + unique)


def write_uid_tree(root: Path, files: dict[str, bytes]) -> None:
    """TCIA's first edition: the paths are those of the tables; mask and crop are swapped for every third mass."""
    for index, row in enumerate(official_rows()):
        write_file(root, row["image file path"], files["film"])
        crop, mask = row["cropped image file path"], row["ROI mask file path"]
        if index % 3 == 0:  # as in the real tables
            crop, mask = mask, crop
        write_file(root, mask, files["mask"])
        write_file(root, crop, files["crop"])


def write_nbia_tree(root: Path, files: dict[str, bytes]) -> None:
    """Descriptive folders without UIDs, new file names; 1-1 is the mask for every other mass."""
    for index, row in enumerate(official_rows()):
        film_path, mask_path = (PurePosixPath(row[name]) for name in ("image file path", "ROI mask file path"))
        write_file(
            root,
            f"CBIS-DDSM/{film_path.parts[0]}/10-04-2016-DDSM-30104/1-full mammogram images-14172/1-1.dcm",
            files["film"],
        )
        folder = f"CBIS-DDSM/{mask_path.parts[0]}/07-20-2016-DDSM-NA-74994/1.000000-ROI mask images-24515"
        names = ("1-1.dcm", "1-2.dcm") if index % 2 else ("1-2.dcm", "1-1.dcm")
        write_file(root, f"{folder}/{names[0]}", files["mask"])
        write_file(root, f"{folder}/{names[1]}", files["crop"])


def copy_tables(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for table in TABLES:
        shutil.copy(SHARED / table, root / table)
    return root


def check_official(mammograms: list[Mammogram], rejected: RejectedCases) -> None:
    assert rejected.rows == []
    assert len(mammograms) == len({mammogram.case for mammogram in mammograms}) == 1592
    parts = {part: [mammogram for mammogram in mammograms if mammogram.split == part] for part in ("train", "test")}
    assert {part: len(subset) for part, subset in parts.items()} == {"train": 1231, "test": 361}
    assert {part: sum(mammogram.masses for mammogram in subset) for part, subset in parts.items()} == {
        "train": 1318,
        "test": 378,
    }
    assert {part: len({mammogram.patient for mammogram in subset}) for part, subset in parts.items()} == {
        "train": 691,
        "test": 201,
    }
    density = {
        part: [sum(mammogram.density == category for mammogram in subset) for category in (1, 2, 3, 4)]
        for part, subset in parts.items()
    }
    assert density == {"train": [245, 551, 328, 107], "test": [45, 165, 107, 44]}
    assert all(len(mammogram.mask_candidates) == mammogram.masses for mammogram in mammograms)


@requires_official_tables
@pytest.mark.parametrize("write", [write_uid_tree, write_nbia_tree])
def test_official_tables_give_the_published_counts(
    write: Callable[[Path, dict[str, bytes]], None], tmp_path: Path
) -> None:
    root = copy_tables(tmp_path / "CBIS-DDSM")
    write(root, stub_files(tmp_path))
    rejected = RejectedCases()
    mammograms = read(root, rejected)
    check_official(mammograms, rejected)
    # Preprocess a few images: the mask is identified among the crops by its pixels.
    with_several_masses = next(mammogram for mammogram in mammograms if mammogram.masses > 2)
    subset = [*mammograms[::199], with_several_masses]
    dataset = build_dataset("cbis", str(root), lambda *_: subset, size=32, store=str(tmp_path / "store"), workers=1)
    store = dataset.open_store()
    assert len(store.cases) == len(subset)
    assert all(case.mass_area == 64 for case in store.cases)


@requires_official_tables
def test_the_kaggle_edition_gives_the_published_counts(tmp_path: Path) -> None:
    """Uses the real rows of dicom_info.csv, with a stub JPEG for each."""
    root = copy_tables(tmp_path / "archive" / "csv").parent
    listing = SHARED / "kaggle" / "dicom_info_filtered.csv"
    shutil.copy(listing, root / "csv" / "dicom_info.csv")
    with listing.open(newline="") as lines:
        for row in csv.DictReader(lines):
            path = row["image_path"].removeprefix("CBIS-DDSM/")
            if row["SeriesDescription"] == "ROI mask images":
                write_file(root, path, jpeg(small_mask()))
            else:
                pixels = (film() >> 8).astype(np.uint8)
                pixels[-8:, -8:] = zlib.crc32(path.encode()) % 60  # background
                write_file(root, path, jpeg(pixels))
    rejected = RejectedCases()
    mammograms = read(tmp_path, rejected)
    check_official(mammograms, rejected)
    subset = mammograms[::265]
    dataset = build_dataset("k", str(root), lambda *_: subset, size=32, store=str(tmp_path / "store"), workers=1)
    assert all(case.mass_area == pytest.approx(64, abs=20) for case in dataset.open_store().cases)


@requires_official_tables
def test_other_editions_of_the_tables_are_equivalent(tmp_path: Path) -> None:
    """Variants: CRLF, no newline in quotes, backslashes, column names of the first edition, byte order mark."""
    root = copy_tables(tmp_path / "a")
    write_uid_tree(root, stub_files(tmp_path))
    reference = read(root, RejectedCases())
    renamed = {
        "left or right breast": "side",
        "image view": "view",
        "abnormality id": "abn_num",
        "abnormality type": "abnormality_type",
        "image file path": "od_img_path",
        "cropped image file path": "od_crop_path",
        "ROI mask file path": "mask_path",
        "breast_density": "breast density",
    }
    for table in TABLES:
        with (root / table).open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        with (root / table).open("w", newline="", encoding="utf-8-sig") as lines:
            writer = csv.writer(lines, lineterminator="\r\n")
            writer.writerow([renamed.get(name, name) for name in rows[0]])
            writer.writerows([value.strip().replace("/", "\\") for value in row.values()] for row in rows)
    rejected = RejectedCases()
    reread = read(root, rejected)
    check_official(reread, rejected)
    assert reread == reference


@pytest.fixture(scope="module", params=LAYOUTS)
def phantom(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp(request.param) / "CBIS-DDSM"
    write_cbis_ddsm(root, cases=12, seed=2, height=208, layout=request.param)
    return root


def test_phantoms_of_every_layout_are_read_completely(phantom: Path, tmp_path: Path) -> None:
    rejected = RejectedCases()
    mammograms = {mammogram.case: mammogram for mammogram in read(phantom, rejected)}
    planned = {image.name: image for image in sample_cbis_ddsm_specs(12, 2)}
    assert rejected.rows == []
    assert mammograms.keys() == planned.keys()
    for name, image in planned.items():
        mammogram = mammograms[name]
        assert (mammogram.patient, mammogram.density, mammogram.side, mammogram.view) == (
            image.patient,
            image.density,
            image.side[0],
            image.view,
        )
        assert mammogram.masses == image.masses == len(mammogram.mask_candidates)
        assert mammogram.split == {"Training": "train", "Test": "test"}[image.part]
    store = build_dataset("p", str(phantom), read, size=64, store=str(tmp_path / "store"), workers=1).open_store()
    for case in store.cases:
        lesions = planned[case.case].lesions
        assert case.mask_resized == any(lesion.scale != 1 for lesion in lesions)
        assert case.mass_pixels > 0
        assert case.mass_area < 0.2 * case.height * case.width, "a crop was used as a mask"


def test_all_layouts_contain_the_same_masses(tmp_path: Path) -> None:
    areas = []
    for layout in LAYOUTS:
        root = tmp_path / layout
        write_cbis_ddsm(root, cases=8, seed=5, height=208, layout=layout)
        store = build_dataset("p", str(root), read, size=64, store=str(tmp_path / "store"), workers=1).open_store()
        areas.append([case.mass_area for case in store.cases])
    assert areas[0] == areas[1] == areas[3]
    assert areas[2] == pytest.approx(areas[0], rel=0.05), "JPEG changes the edges of the masks"


@pytest.fixture
def small_dataset(tmp_path: Path) -> Path:
    root = tmp_path / "CBIS-DDSM"
    write_cbis_ddsm(root, cases=8, seed=3, height=208, layout="tcia_old")
    return root


def prepared_cases(root: Path, **settings: object) -> list[str]:
    store = build_dataset("p", str(root), read, size=32, store=str(root.parent / "s"), workers=1, **settings)  # type: ignore[arg-type]
    return [case.case for case in store.open_store().cases]


def test_missing_files_are_reported_by_image_and_can_be_skipped(small_dataset: Path) -> None:
    first, second, *_ = sorted({path.name for path in small_dataset.iterdir() if path.name[-1] in "CO"})
    shutil.rmtree(small_dataset / first)
    shutil.rmtree(next(small_dataset.glob(f"{second}_*")))
    rejected = RejectedCases()
    assert len(read(small_dataset, rejected)) == 6
    assert {file for file, _ in rejected.rows} == {first, second}
    assert "full mammogram is missing" in dict(rejected.rows)[first]
    assert "mask of abnormality" in dict(rejected.rows)[second]
    with pytest.raises(UserError, match="cannot be used: 2;"):
        prepared_cases(small_dataset)
    assert len(prepared_cases(small_dataset, on_error="skip")) == 6


def test_a_mass_without_a_mask_is_an_error(small_dataset: Path) -> None:
    mammogram = read(small_dataset, RejectedCases())[0]
    for file in mammogram.mask_candidates[0]:
        pixels = np.unique(np.frombuffer(file.read_bytes()[-2000:], np.uint8))
        if len(pixels) == 1:  # a mask ends in background pixels
            file.unlink()
    with pytest.raises(UserError, match="only crops"):
        prepared_cases(small_dataset)


def test_a_mask_of_another_size_is_resized_only_at_the_same_aspect_ratio(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    cv2.imwrite(str(path), cv2.resize(small_mask(), (200, 241)))
    result = read_masks([[path]], (480, 400), verified=False)
    assert (result.mask.shape, result.resized) == ((480, 400), True)
    for wrong in (cv2.resize(small_mask(), (460, 480)), np.rot90(small_mask())):
        cv2.imwrite(str(path), wrong)
        with pytest.raises(ImageReadError, match="must have the aspect ratio of the image"):
            read_masks([[path]], (480, 400), verified=False)


def test_a_png_export_next_to_its_dicom_is_ignored(small_dataset: Path) -> None:
    previous = read(small_dataset, RejectedCases())
    for file in list(small_dataset.rglob("*.dcm")):
        shutil.copy(file, file.with_suffix(".png"))
    assert read(small_dataset, RejectedCases()) == previous


def test_contradictory_densities_are_rejected(small_dataset: Path) -> None:
    table = small_dataset / TABLES[0]
    lines = table.read_text().splitlines()
    line_index = next(index for index, line in enumerate(lines) if line.startswith("P_") and ",2,mass" in line)
    cells = lines[line_index].split(",")
    cells[1] = "1" if cells[1] != "1" else "2"
    lines[line_index] = ",".join(cells)
    table.write_text("\n".join(lines))
    rejected = RejectedCases()
    assert len(read(small_dataset, rejected)) == 7
    assert "different densities" in rejected.rows[0][1]


def test_tables_are_read_from_another_folder(small_dataset: Path, tmp_path: Path) -> None:
    for table in TABLES:
        (tmp_path / "tables").mkdir(exist_ok=True)
        shutil.move(small_dataset / table, tmp_path / "tables" / table)
    with pytest.raises(UserError, match=r"no description table of masses.*set dataset\.reader\.tables"):
        read(small_dataset, RejectedCases())
    assert len(read(small_dataset, RejectedCases(), tables=str(tmp_path / "tables"))) == 8


def test_an_invalid_root_is_an_error(small_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        read(tmp_path / "nowhere", RejectedCases())
    with pytest.raises(UserError, match="a file, not a folder"):
        read(small_dataset / TABLES[0], RejectedCases())
    (tmp_path / "only").mkdir()
    shutil.copy(small_dataset / TABLES[0], tmp_path / "only")
    with pytest.raises(UserError, match="description tables, but no image files"):
        read(tmp_path / "only", RejectedCases())


def test_folders_without_uids_are_located_by_the_listing(tmp_path: Path) -> None:
    """Only metadata.csv links a series to its folder, with a path from another machine."""
    root = tmp_path / "CBIS-DDSM"
    write_cbis_ddsm(root, cases=8, seed=3, height=208, layout="tcia")
    listing = (root / "metadata.csv").read_text()
    for index, folder in enumerate(sorted(path for path in root.iterdir() if path.is_dir())):
        folder.rename(root / f"case{index:03d}")
        listing = listing.replace(f"./{folder.name}/", f"./manifest-1/CBIS-DDSM/case{index:03d}/")
    lines = [line.replace("/", "\\") if index % 2 else line for index, line in enumerate(listing.splitlines())]
    (root / "metadata.csv").write_text("\n".join(lines))
    rejected = RejectedCases()
    assert len(read(root, rejected)) == 8
    assert rejected.rows == []


def write_descriptions(root: Path, masses: list[str], calcifications: list[str]) -> Path:
    """Description tables and empty files of films such as Training_P_00001_LEFT_CC; calcifications have no masks."""
    paths = "image file path,cropped image file path,ROI mask file path"
    headings = f"patient_id,{{density}},abnormality id,abnormality type,{paths}"
    for kind, films in (("Mass", masses), ("Calc", calcifications)):
        lines = [headings.format(density="breast_density" if kind == "Mass" else "breast density")]
        for film in films:
            name = f"{kind}-{film}"
            lines.append(f"x,3,1,{kind.lower()},{name}/1/2/000000.dcm,{name}_1/1/3/000000.dcm,{name}_1/1/3/000001.dcm")
            for folder in (name, *([f"{name}_1"] if kind == "Mass" else [])):
                (root / folder / "1").mkdir(parents=True, exist_ok=True)
                (root / folder / "1" / "000000.dcm").write_text(folder)
        if films:
            (root / f"{kind.lower()}_case_description_train_set.csv").write_text("\n".join([*lines, ""]))
    return root


def test_films_with_calcifications_and_without_a_mass_are_read_on_request(tmp_path: Path) -> None:
    masses = ["Training_P_00001_LEFT_CC", "Test_P_00002_LEFT_CC"]
    calcifications = [
        "Test_P_00001_LEFT_CC",  # the film of a mass, in another part
        "Test_P_00001_LEFT_MLO",  # a patient of the training part of the masses
        "Training_P_00002_RIGHT_CC",  # a patient of the test part of the masses
        "Test_P_00003_LEFT_CC",
        "Test_P_00004_LEFT_CC",
        "Training_P_00004_LEFT_CC",  # the same film in both parts
        "Training_P_00004_RIGHT_CC",
    ]
    root, rejected = write_descriptions(tmp_path, masses, calcifications), RejectedCases()
    expected = [("Mass-Test_P_00002_LEFT_CC", "test", 1), ("Mass-Training_P_00001_LEFT_CC", "train", 1)]
    assert [(image.case, image.split, image.masses) for image in read(root, rejected)] == expected
    images = read(root, rejected, negatives=True)
    assert [(image.case, image.split, image.masses) for image in images] == [
        *expected,
        ("Calc-Test_P_00001_LEFT_MLO", "train", 0),
        ("Calc-Test_P_00003_LEFT_CC", "test", 0),
        ("Calc-Test_P_00004_LEFT_CC", "train", 0),
        ("Calc-Training_P_00002_RIGHT_CC", "test", 0),
        ("Calc-Training_P_00004_RIGHT_CC", "train", 0),
    ]
    assert not rejected.rows
    assert all(image.density == 3 and not image.mask_candidates for image in images[2:])


def test_images_without_a_mass_need_the_tables_of_calcifications(tmp_path: Path) -> None:
    root = write_descriptions(tmp_path, ["Training_P_00001_LEFT_CC"], [])
    with pytest.raises(UserError, match=r"dataset\.negatives must be none without the tables of calcifications; add"):
        read(root, RejectedCases(), negatives=True)


def test_a_missing_film_with_calcifications_is_rejected(tmp_path: Path) -> None:
    root = write_descriptions(tmp_path, ["Training_P_00001_LEFT_CC"], ["Training_P_00003_LEFT_CC"])
    shutil.rmtree(root / "Calc-Training_P_00003_LEFT_CC")
    rejected = RejectedCases()
    assert len(read(root, rejected, negatives=True)) == 1
    assert rejected.rows == [("Calc-Training_P_00003_LEFT_CC", "the full mammogram is missing; download its series")]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_synthetic_films_without_a_mass_are_read_in_every_layout(layout: str, tmp_path: Path) -> None:
    specs = write_cbis_ddsm(tmp_path / "data", cases=8, height=128, layout=layout, negatives=0.5)
    rejected = RejectedCases()
    images = read(tmp_path / "data", rejected, negatives=True)
    assert not rejected.rows
    assert {(image.case, image.masses) for image in images} == {(spec.name, spec.masses) for spec in specs}
    assert sum(image.masses == 0 for image in images) == 8
    parts = {image.patient: image.split for image in images}
    assert all(image.split == parts[image.patient] for image in images)
