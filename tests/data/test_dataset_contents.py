"""Contents of a custom dataset: encodings of masks, contradictions, repeated images, unusable files."""

from __future__ import annotations

import gzip
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from mammoseg.data.dataset import DatasetSpec, build_dataset
from mammoseg.data.readers.image_folder import read
from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError
from mammoseg.prepare.data_report import report_rows, summarise_store

HEADER = "case,image,mask,patient,density"
SHAPE = (128, 96)
PATIENTS = ("P01", "p01", "P1")


def breast(seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    inside = ((y - 64) / 55) ** 2 + (x / 70) ** 2 < 1
    noise = np.random.default_rng(seed).integers(0, 40, SHAPE)
    image: np.ndarray = np.where(inside, 100 + noise, 5).astype(np.uint8)
    return image


def disc(y: int = 64, x: int = 30, radius: int = 8) -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    inside: np.ndarray = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return inside.astype(np.uint8)


def dataset(root: Path, *rows: str, header: str = HEADER, **settings: Any) -> DatasetSpec:
    if rows:
        (root / "cases.csv").write_text("\n".join([header, *rows]) + "\n")
    settings = {"store": str(root / "store"), "size": 64, "workers": 1, **settings}
    return build_dataset("folder", str(root), read, **settings)


def write_image(root: Path, name: str, seed: int = 0) -> None:
    cv2.imwrite(str(root / f"{name}.png"), breast(seed))


def prepare_mask(root: Path, write: Callable[[Path], object], suffix: str = ".png") -> PreparedStore:
    write_image(root, "a")
    write(root / f"m{suffix}")
    return dataset(root, f"a,a.png,m{suffix},p,2").open_store()


def labels() -> np.ndarray:
    """A large mass with label 1 and a small one with label 2, as in the two discs of 1581 and 441 pixels."""
    both: np.ndarray = np.maximum(disc(40, 30, 12), 2 * disc(90, 30, 6))
    return both


def save_palette(path: Path, palette: list[int], values: np.ndarray) -> None:
    image = Image.fromarray(values, mode="P")
    image.putpalette(palette)
    image.save(path)


def grey_labels(first: int, second: int, dtype: type) -> np.ndarray:
    values: np.ndarray = np.array([0, first, second], dtype)[labels()]
    return values


def gzipped(write: Callable[[Path], object], path: Path) -> None:
    write(uncompressed := path.with_suffix(""))
    path.write_bytes(gzip.compress(uncompressed.read_bytes()))


def alpha_of_black(path: Path) -> None:
    Image.fromarray(np.dstack([np.zeros(SHAPE, np.uint8), (labels() > 0) * np.uint8(255)])).save(path)


MASK_WRITERS: dict[str, tuple[Callable[[Path], object], str, int]] = {
    "labels 1 and 2": (lambda path: cv2.imwrite(str(path), labels()), ".png", 2),
    "labels 1 and 2 of 16 bits": (lambda path: cv2.imwrite(str(path), labels().astype(np.uint16)), ".tif", 2),
    "labels 1.0 and 2.0": (lambda path: Image.fromarray(labels().astype(np.float32)).save(path), ".tif", 2),
    "grey labels 128 and 255": (
        lambda path: cv2.imwrite(str(path), np.array([0, 128, 255], np.uint8)[labels()]),
        ".png",
        2,
    ),
    "grey labels 255 and 20": (lambda path: cv2.imwrite(str(path), grey_labels(255, 20, np.uint8)), ".png", 2),
    "grey labels 1 and 33": (lambda path: cv2.imwrite(str(path), grey_labels(1, 33, np.uint8)), ".png", 2),
    "grey labels 10 and 1000": (lambda path: cv2.imwrite(str(path), grey_labels(10, 1000, np.uint16)), ".png", 2),
    "labels 0.05 and 1.0": (
        lambda path: Image.fromarray(np.array([0, 0.05, 1], np.float32)[labels()]).save(path),
        ".tif",
        2,
    ),
    "compressed palette": (
        lambda path: gzipped(lambda file: save_palette(file, [0, 0, 0, 128, 0, 0, 0, 128, 0], labels()), path),
        ".png.gz",
        2,
    ),
    "compressed alpha channel": (lambda path: gzipped(alpha_of_black, path), ".png.gz", 1),
    "colour palette": (lambda path: save_palette(path, [0, 0, 0, 128, 0, 0, 0, 128, 0], labels()), ".png", 2),
    "grey palette": (
        lambda path: save_palette(path, [0, 0, 0, 255, 255, 255], (labels() > 0) * np.uint8(1)),
        ".png",
        1,
    ),
    "colours": (
        lambda path: Image.fromarray(np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)[labels()]).save(path),
        ".png",
        2,
    ),
    "alpha channel of a white image": (
        lambda path: Image.fromarray(
            np.dstack([np.full((*SHAPE, 3), 255, np.uint8), (labels() > 0) * np.uint8(255)])
        ).save(path),
        ".png",
        1,
    ),
    "alpha channel of a black image": (alpha_of_black, ".png", 1),
    "red on transparent white": (
        lambda path: Image.fromarray(
            np.array([[255, 255, 255, 0], [255, 0, 0, 255]], np.uint8)[(labels() > 0).astype(int)]
        ).save(path),
        ".png",
        1,
    ),
    "constant alpha channel": (
        lambda path: Image.fromarray(np.dstack([(labels() > 0) * np.uint8(255), np.full(SHAPE, 200, np.uint8)])).save(
            path
        ),
        ".png",
        1,
    ),
    "1 bit": (lambda path: Image.fromarray(labels() > 0).save(path), ".png", 1),
}


@pytest.mark.parametrize("encoding", MASK_WRITERS)
def test_every_positive_label_is_mass(tmp_path: Path, encoding: str) -> None:
    write, suffix, n_labels = MASK_WRITERS[encoding]
    (case,) = prepare_mask(tmp_path, write, suffix).cases
    assert case.mass_area == np.count_nonzero(labels())
    assert case.mask_labels == n_labels


def test_blurred_edges_are_no_labels(tmp_path: Path) -> None:
    truth = disc(radius=20)
    blurred = cv2.GaussianBlur(truth * 255.0, (0, 0), 1.5).astype(np.uint8)
    (case,) = prepare_mask(tmp_path, lambda path: cv2.imwrite(str(path), blurred)).cases
    assert case.mask_labels == 1
    assert abs(case.mass_area - int(truth.sum())) < 0.03 * truth.sum()


@pytest.mark.parametrize("quality", [10, 50, 75, 95])
def test_compression_artefacts_are_no_labels(tmp_path: Path, quality: int) -> None:
    truth = disc(radius=14)
    jpeg = cv2.imdecode(cv2.imencode(".jpg", truth * 255, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
    assert jpeg is not None
    (case,) = prepare_mask(tmp_path, lambda path: cv2.imwrite(str(path), jpeg)).cases
    assert case.mask_labels == 1
    assert abs(case.mass_area - int(truth.sum())) < 0.05 * truth.sum()


def test_a_small_grey_mass_beside_a_white_one_is_mass(tmp_path: Path) -> None:
    values = disc(40, 30, 12) * 255
    values[90:94, 40:44] = 100
    (case,) = prepare_mask(tmp_path, lambda path: cv2.imwrite(str(path), values)).cases
    assert case.mass_area == np.count_nonzero(values)
    assert case.mask_labels == 2


BAD_MASKS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "inverted": (lambda path: cv2.imwrite(str(path), 255 * (1 - disc())), ".png", "is it inverted"),
    "breast as label 1": (
        lambda path: cv2.imwrite(str(path), (breast() > 50) + disc()),
        ".png",
        "a label other than mass, such as the breast, must be removed",
    ),
    "an image": (lambda path: cv2.imwrite(str(path), breast(1)), ".png", "are image and mask exchanged"),
    "an image as JPEG": (lambda path: cv2.imwrite(str(path), breast(1)), ".jpg", "are image and mask exchanged"),
    "labels as JPEG": (
        lambda path: cv2.imwrite(str(path), labels() * 2),
        ".jpg",
        "a JPEG mask must be black",
    ),
    "grey labels as JPEG": (
        lambda path: cv2.imwrite(str(path), grey_labels(255, 100, np.uint8)),
        ".jpg",
        "a JPEG mask must be black and white, got grey regions",
    ),
    "negative background": (
        lambda path: Image.fromarray(disc().astype(np.int32) - 1).save(path),
        ".tif",
        r"mask values must be 0 \(background\) or positive, got -1",
    ),
    "a colour photograph": (
        lambda path: Image.fromarray(np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), np.uint8)).save(path),
        ".png",
        "at most 32 colours",
    ),
    "no black": (
        lambda path: Image.fromarray(np.array([[0, 0, 200], [255, 0, 0]], np.uint8)[disc()]).save(path),
        ".png",
        "must be black",
    ),
    "colours against alpha": (
        lambda path: Image.fromarray(
            np.dstack([disc() * 255, disc() * 0, disc() * 0, (breast() > 50) * np.uint8(255)])
        ).save(path),
        ".png",
        "colours and alpha channel must describe the same mask",
    ),
    "not a number": (
        lambda path: Image.fromarray(np.where(disc(), np.float32(np.nan), np.float32(0))).save(path),
        ".tif",
        "not a number",
    ),
    "rotated": (lambda path: cv2.imwrite(str(path), np.rot90(disc())), ".png", "the mask has 128x96 pixels"),
    "wider": (
        lambda path: cv2.imwrite(str(path), cv2.resize(disc(), (110, 128))),
        ".png",
        "the mask has 110x128 pixels",
    ),
    "several pages": (
        lambda path: Image.fromarray(disc() * 255).save(
            path, save_all=True, append_images=[Image.fromarray(disc() * 255)]
        ),
        ".tif",
        "2 pages",
    ),
}


@pytest.mark.parametrize("defect", BAD_MASKS)
def test_what_cannot_be_a_mask_is_rejected(tmp_path: Path, defect: str) -> None:
    write, suffix, message = BAD_MASKS[defect]
    with pytest.raises(UserError, match=message):
        prepare_mask(tmp_path, write, suffix)


def test_exchanged_columns_are_rejected(tmp_path: Path) -> None:
    write_image(tmp_path, "a")
    cv2.imwrite(str(tmp_path / "m.png"), disc() * 255)
    with pytest.raises(UserError, match="only 2 grey values: a mask or a drawing"):
        dataset(tmp_path, "a,m.png,a.png,p,2").open_store()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_with_values_that_are_not_finite_is_rejected(tmp_path: Path, value: float) -> None:
    pixels = breast().astype(np.float32)
    pixels[3, 3] = value
    cv2.imwrite(str(tmp_path / "a.tif"), pixels)
    cv2.imwrite(str(tmp_path / "m.png"), disc() * 255)
    with pytest.raises(UserError, match="infinite or not a number"):
        dataset(tmp_path, "a,a.tif,m.png,p,2").open_store()


@pytest.mark.parametrize("value", [-3.4e38, 1e20])
def test_an_image_with_a_marker_of_missing_pixels_is_rejected(tmp_path: Path, value: float) -> None:
    cv2.imwrite(str(tmp_path / "a.tif"), np.where(breast() > 50, breast().astype(np.float32), np.float32(value)))
    cv2.imwrite(str(tmp_path / "m.png"), disc() * 255)
    with pytest.raises(UserError, match=r"grey values must be between -1e\+15 and 1e\+15, got"):
        dataset(tmp_path, "a,a.tif,m.png,p,2").open_store()


def test_a_multi_page_tiff_is_rejected_as_in_prediction(tmp_path: Path) -> None:
    Image.fromarray(breast()).save(tmp_path / "a.tif", save_all=True, append_images=[Image.fromarray(breast(1))])
    cv2.imwrite(str(tmp_path / "m.png"), disc() * 255)
    with pytest.raises(UserError, match="2 pages"):
        dataset(tmp_path, "a,a.tif,m.png,p,2").open_store()


def write_cases(root: Path, masks: dict[str, np.ndarray]) -> None:
    for seed, (name, mask) in enumerate(masks.items()):
        write_image(root, name, seed)
        cv2.imwrite(str(root / f"{name}-mask.png"), mask)


def test_empty_masks_are_counted_as_images_without_mass(tmp_path: Path) -> None:
    write_cases(tmp_path, {"a": disc() * 255, "b": disc() * 0, "c": labels()})
    rows = [f"{name},{name}.png,{name}-mask.png,{name},2" for name in "abc"]
    store = dataset(tmp_path, *rows).open_store()
    assert [case.masses for case in store.cases] == [1, 0, 1]
    report = summarise_store(store)
    assert report["counts"]["masses"] == 2
    assert report["images_without_mass"] == ["b"]
    assert report["masks_with_labels"] == ["c"]
    assert ("images without a mass (empty masks)", "1 (b)") in report_rows(report)


def test_a_dataset_without_any_mass_is_rejected(tmp_path: Path) -> None:
    write_cases(tmp_path, {"a": disc() * 0, "b": disc() * 0})
    data = dataset(tmp_path, "a,a.png,a-mask.png,a,2", "b,b.png,b-mask.png,b,2")
    for _ in range(2):
        with pytest.raises(UserError, match="at least one mask must contain a mass, got 2 empty masks"):
            data.open_store()
    assert not list((tmp_path / "store").glob("folder-*"))


def test_a_mass_in_an_image_without_masses_is_a_contradiction(tmp_path: Path) -> None:
    write_cases(tmp_path, {"a": disc() * 255})
    with pytest.raises(UserError, match="an image with 0 masses must have an empty mask"):
        dataset(tmp_path, "a,a.png,a-mask.png,a,2,0", header=f"{HEADER},masses").open_store()


def test_a_mass_outside_the_breast_is_reported(tmp_path: Path) -> None:
    write_cases(tmp_path, {"a": disc(64, 88, 5) * 255, "b": disc() * 255})
    store = dataset(tmp_path, "a,a.png,a-mask.png,a,2", "b,b.png,b-mask.png,b,2").open_store()
    assert [case.mass_in_breast for case in store.cases] == [0, 1]
    assert summarise_store(store)["masses_outside_breast"] == ["a"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("b,a.png,a-mask.png,p,2", "b .*the same image as case a; remove one"),
        ("b,a.png,a-mask.png,q,2", "a .*the same image as case b, but differs in patient"),
        ("b,copy.png,a-mask.png,q,2", "b .*the same image as case a, but differs in patient"),
        ("b,a.png,b-mask.png,p,2", "but differs in masks"),
        ("b,a.png,b-mask.png,q,3", "but differs in patient, density, masks"),
    ],
)
def test_an_image_in_several_cases_is_rejected(tmp_path: Path, second: str, message: str) -> None:
    write_cases(tmp_path, {"a": disc() * 255, "b": disc(80) * 255, "c": disc() * 255})
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    rows = ["a,a.png,a-mask.png,p,2", second, "c,c.png,c-mask.png,r,2"]
    with pytest.raises(UserError, match=message):
        dataset(tmp_path, *rows).open_store()
    store = dataset(tmp_path, *rows, on_error="skip").open_store()
    expected = ["c"] if "but" in message else ["a", "c"]
    assert [case.case for case in store.cases] == expected


COPIES: dict[str, Callable[[np.ndarray, Path], object]] = {
    "copy.tif": lambda pixels, path: cv2.imwrite(str(path), pixels),
    "copy.pgm": lambda pixels, path: cv2.imwrite(str(path), pixels),
    "copy.png": lambda pixels, path: cv2.imwrite(str(path), pixels.astype(np.uint16) * 257),
    "copy.png.gz": lambda pixels, path: path.write_bytes(gzip.compress(cv2.imencode(".png", pixels)[1].tobytes())),
}


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("mask", ["a-mask.png", "copy-mask.tif"])
def test_a_copy_of_an_image_in_another_format_is_rejected(tmp_path: Path, name: str, mask: str) -> None:
    write_cases(tmp_path, {"a": disc() * 255, "c": disc() * 255})
    COPIES[name](breast(0), tmp_path / name)
    cv2.imwrite(str(tmp_path / "copy-mask.tif"), disc().astype(np.uint16))
    row_a, row_c = "a,a.png,a-mask.png,p,2", "c,c.png,c-mask.png,r,2"
    with pytest.raises(UserError, match=r"b .*the same image as case a, but differs in patient; remove one"):
        dataset(tmp_path, row_a, f"b,{name},{mask},q,2", row_c).open_store()
    for _ in range(2):
        store = dataset(tmp_path, row_a, f"b,{name},{mask},p,2", row_c, on_error="skip").open_store()
        assert [case.case for case in store.cases] == ["a", "c"]
        assert ["b", "the same image as case a; remove one"] in store.about["skipped"]


def test_patients_that_differ_only_in_case_are_one_patient(tmp_path: Path) -> None:
    write_cases(tmp_path, {name: disc() * 255 for name in "abc"})
    rows = [f"{name},{name}.png,{name}-mask.png,{patient},2" for name, patient in zip("abc", PATIENTS, strict=True)]
    store = dataset(tmp_path, *rows).open_store()
    assert [case.patient for case in store.cases] == ["P01", "P01", "P1"]


@pytest.mark.parametrize(
    "other", ["Jose\u0301", "JOS\u00c9", "Jos\u00e9\u200b", " Jos\u00e9 ", "\uff2a\uff4f\uff53\u00e9"]
)
def test_patients_that_differ_only_in_unicode_encoding_are_one_patient(tmp_path: Path, other: str) -> None:
    write_cases(tmp_path, {name: disc() * 255 for name in "ab"})
    (tmp_path / "cases.csv").write_text(
        f"{HEADER}\na,a.png,a-mask.png,Jos\u00e9,2\nb,b.png,b-mask.png,{other},2\n", encoding="utf-8"
    )
    assert {case.patient for case in dataset(tmp_path).open_store().cases} == {"Jos\u00e9"}


@pytest.mark.parametrize(
    ("delimiter", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16"), (",", "cp1252"), (";", "utf-16-le")]
)
def test_a_table_written_by_a_spreadsheet_is_read(tmp_path: Path, delimiter: str, encoding: str) -> None:
    (tmp_path / "images").mkdir()
    write_cases(tmp_path / "images", {"ä": disc() * 255, "b": disc() * 255})
    rows = [
        ["", "Case", "IMAGE", "Mask ", "Patient", "Density", "Split", "Masses"],
        ["0", "ä", "images\\ä.png", r".\images\ä-mask.png", "p", "2.0", "Train", "1.0"],
        ["1", "b", "images/b.png", "images/b-mask.png", "q", "C", "validation", ""],
    ]
    text = "".join(delimiter.join(row) + "\r\n" for row in rows)
    (tmp_path / "cases.csv").write_bytes(text.encode(encoding))
    store = dataset(tmp_path).open_store()
    assert [(case.case, case.density, case.split, case.masses) for case in store.cases] == [
        ("ä", 2, "train", 1),
        ("b", 3, "val", 1),
    ]


def test_a_dicom_file_named_by_its_uid_is_read(tmp_path: Path) -> None:
    from mammoseg.phantom.dicom import DIGITAL_MAMMOGRAPHY, write_greyscale_dicom

    for name in ("1.2.840.99.7", "IM0001"):
        pixels = breast(len(name)).astype(np.uint16) * 8
        write_greyscale_dicom(tmp_path / name, pixels, bits=12, uids=(name,), SOPClassUID=DIGITAL_MAMMOGRAPHY)
    cv2.imwrite(str(tmp_path / "m.png"), disc() * 255)
    assert len(dataset(tmp_path, "a,1.2.840.99.7,m.png,p,1", "b,IM0001,m.png,q,1").open_store().cases) == 2


def test_content_decides_whether_arrays_are_outdated(tmp_path: Path) -> None:
    write_cases(tmp_path, {"a": disc() * 255, "b": disc() * 255})
    mask = tmp_path / "a-mask.tif"
    uncompressed = [cv2.IMWRITE_TIFF_COMPRESSION, 1]
    cv2.imwrite(str(mask), disc() * 255, uncompressed)
    rows = ["a,a.png,a-mask.tif,a,2", "b,b.png,b-mask.png,b,2"]
    first = dataset(tmp_path, *rows).open_store()
    before = mask.stat()
    cv2.imwrite(str(mask), disc(radius=4) * 255, uncompressed)
    os.utime(mask, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = dataset(tmp_path, *rows).open_store()
    assert mask.stat().st_size == before.st_size
    assert [store.cases[0].mass_area for store in (first, second)] == [disc().sum(), disc(radius=4).sum()]
    # A new time stamp alone does not make the arrays outdated.
    for file in tmp_path.glob("*.*"):
        os.utime(file, ns=(1, 10**18))
    assert dataset(tmp_path, *rows).open_store().folder == second.folder


def test_the_rows_of_a_store_are_in_the_order_of_the_table(tmp_path: Path) -> None:
    write_cases(tmp_path, {name: disc() * 255 for name in "abc"})
    rows = [f"{name},{name}.png,{name}-mask.png,{name},2" for name in "abc"]
    for order in (rows, rows[::-1], rows):
        store = dataset(tmp_path, *order).open_store()
        assert [case.case for case in store.cases] == [row[0] for row in order]


def test_skipped_cases_are_summarised_at_each_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_cases(tmp_path, {"a": disc() * 255})
    rows = ["a,a.png,a-mask.png,a,2", *(f"x{n},x{n}.png,a-mask.png,a,2" for n in range(200))]
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            dataset(tmp_path, *rows, on_error="skip").open_store()
        assert "200 cases skipped" in caplog.text
        assert "x0.png and 199 more: no such file" in caplog.text
        assert len(caplog.text.splitlines()) < 5
