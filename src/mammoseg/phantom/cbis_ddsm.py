"""Synthetic mammograms in the layouts of CBIS-DDSM, with the irregularities of the real dataset.

Digitised films with labels, tape and frames; 16-bit pixels; several abnormalities per image; tables in which the
columns of mask and crop are sometimes swapped, with both in different studies; masks whose size differs from that of
their image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg import validate
from mammoseg.data.images.masks import rasterise
from mammoseg.files import atomic_dir, atomic_write_bytes
from mammoseg.phantom.anatomy import draw_phantom
from mammoseg.phantom.cbis_ddsm_specs import CbisDdsmImageSpec, ImageFile, LesionSpec, sample_cbis_ddsm_specs
from mammoseg.phantom.cbis_ddsm_tables import (
    DESCRIPTION_COLUMNS,
    DICOM_INFO_COLUMNS,
    FIRST_EDITION_COLUMNS,
    METADATA_COLUMNS,
    write_csv,
)
from mammoseg.phantom.dicom import SECONDARY_CAPTURE, write_greyscale_dicom
from mammoseg.phantom.film import digitise_film
from mammoseg.phantom.write import ASPECT, map_in_processes, validate_arguments

LAYOUTS = ("tcia", "tcia_old", "kaggle", "png")


def write_cbis_ddsm(
    root: Path,
    *,
    cases: int = 40,
    seed: int = 0,
    height: int = 832,
    layout: str = "tcia",
    appearance: str = "realistic",
) -> list[CbisDdsmImageSpec]:
    """Write a synthetic dataset in a layout of CBIS-DDSM.

    The folder is created atomically, and the same arguments give the same bytes.

    Args:
        root: Folder to create.
        cases: Number of images, at least 8.
        seed: Seed of the dataset.
        height: Height of the images in pixels, at least 128.
        layout: "tcia" (folders named by NBIA, 1-1.dcm, metadata.csv), "tcia_old" (folders named by UIDs, 000000.dcm,
            tables of the first edition), "kaggle" (JPEG by series, dicom_info.csv) or "png" (the folders of "tcia_old"
            with PNG files).
        appearance: Density of the breast, and size and contrast of masses: "realistic" or "simple".

    Returns:
        The specifications of all images.

    Raises:
        UserError: If `root` is not empty, `cases` or `height` is too small, or the layout or the appearance is unknown.

    Example:
        >>> specs = write_cbis_ddsm(Path("data/my-phantom"), cases=40, layout="kaggle")  # doctest: +SKIP
    """
    validate_arguments(root, cases, height, appearance)
    validate.one_of("layout", layout, LAYOUTS)
    specs = sample_cbis_ddsm_specs(cases, seed)
    with atomic_dir(root) as tmp_dir:
        task = partial(write_cbis_ddsm_image, tmp_dir, height, layout, appearance)
        write_tables(tmp_dir, layout, specs, [row for rows in map_in_processes(task, specs) for row in rows])
    return specs


def write_tables(
    folder: Path, layout: str, specs: Sequence[CbisDdsmImageSpec], listing: Sequence[dict[str, Any]]
) -> None:
    """Write the tables of the dataset.

    Args:
        folder: Root of the dataset.
        layout: One of `LAYOUTS`.
        specs: Specifications of all images.
        listing: Rows of the table of files, which the layouts "tcia" and "kaggle" have.
    """
    write_descriptions(folder / ("csv" if layout == "kaggle" else ""), specs, old=layout == "tcia_old")
    if layout == "tcia":
        write_csv(folder / "metadata.csv", METADATA_COLUMNS, listing)
    if layout == "kaggle":
        write_csv(folder / "csv" / "dicom_info.csv", DICOM_INFO_COLUMNS, listing)


def cbis_ddsm_uid(*sources: object) -> str:
    """Return a UID derived from `sources`, with the root of the UIDs of CBIS-DDSM."""
    suffix = int(hashlib.sha256(repr(sources).encode()).hexdigest()[:32], 16)
    return f"1.3.6.1.4.1.9590.100.1.2.{suffix}"


def write_cbis_ddsm_image(
    folder: Path, height: int, layout: str, appearance: str, image: CbisDdsmImageSpec
) -> list[dict[str, Any]]:
    """Draw one image and write its files.

    Args:
        folder: Root of the dataset.
        height: Height of the image in pixels.
        layout: One of `LAYOUTS`.
        appearance: Density of the breast, and size and contrast of masses.
        image: Specification of the image.

    Returns:
        The row of each file in the listing of the download.
    """
    cv2.setNumThreads(1)
    rng = np.random.default_rng(image.seed)
    side = image.side[0]
    phantom = draw_phantom(
        rng,
        density=image.density,
        view=image.view,
        side=side,
        height=height,
        width=round(height * ASPECT),
        masses=image.masses,
        appearance=appearance,
    )
    film = digitise_film(rng, phantom, side)
    files = [ImageFile(image.name, *series_uids(image), "full mammogram images", 1, film.pixels)]
    for lesion, outline in zip(image.lesions, film.outlines, strict=True):
        files += mask_and_crop(rng, image, lesion, film.pixels, outline)
    return [write_image_file(folder, layout, file) for file in files]


def series_uids(image: CbisDdsmImageSpec, lesion: LesionSpec | None = None, role: str = "") -> tuple[str, str]:
    """Return Study Instance UID and Series Instance UID.

    Args:
        image: Specification of the image.
        lesion: The mass, for masks and crops; None for the full mammogram. Mask and crop are in the same series unless
            they are swapped.
        role: "mask" or "crop"; empty for the full mammogram.
    """
    distinct_role = role if lesion is not None and lesion.swapped else ""
    abnormality = lesion.abnormality if lesion is not None else 0
    sources = (image.name, abnormality, distinct_role)
    return cbis_ddsm_uid("study", *sources), cbis_ddsm_uid("series", *sources)


def mask_and_crop(
    rng: np.random.Generator,
    image: CbisDdsmImageSpec,
    lesion: LesionSpec,
    pixels: NDArray[np.uint16],
    outline: NDArray[np.float64],
) -> list[ImageFile]:
    """Create the mask of a mass, with values 0 and 255, and the crop of the image around it.

    Args:
        rng: Source of randomness.
        image: Specification of the image.
        lesion: Specification of the mass.
        pixels: (H, W) of the image.
        outline: (N, 2) of (x, y) in pixels.

    Returns:
        Mask and crop.
    """
    mask = rasterise([outline], *pixels.shape) * np.uint8(255)
    left, top, width, height = cv2.boundingRect(mask)
    crop = pixels[max(top - 8, 0) : top + height + 8, max(left - 8, 0) : left + width + 8]
    if lesion.scale != 1:
        shape = (round(mask.shape[1] * lesion.scale), round(mask.shape[0] * lesion.scale))
        mask = np.asarray(cv2.resize(mask, shape, interpolation=cv2.INTER_NEAREST), np.uint8)
    subject = f"{image.name}_{lesion.abnormality}"
    mask_index = 1 if lesion.swapped else int(rng.integers(1, 3))
    crop_index = 1 if lesion.swapped else 3 - mask_index
    # A series that contains both may have either description.
    shared = str(rng.choice(["ROI mask images", "cropped images"]))
    mask_description = "ROI mask images" if lesion.swapped else shared
    crop_description = "cropped images" if lesion.swapped else shared
    return [
        ImageFile(subject, *series_uids(image, lesion, "mask"), mask_description, mask_index, mask),
        ImageFile(subject, *series_uids(image, lesion, "crop"), crop_description, crop_index, crop),
    ]


def write_image_file(folder: Path, layout: str, file: ImageFile) -> dict[str, Any]:
    """Write an image file at its path in `layout`, and return its row in the listing of the download."""
    relative_path = image_path(layout, file)
    path = folder / relative_path
    if path.suffix == ".dcm":
        path.parent.mkdir(parents=True, exist_ok=True)
        write_cbis_ddsm_dicom(path, file)
    else:
        is_wide = file.pixels.itemsize == 2
        pixels = (file.pixels >> 8).astype(np.uint8) if layout == "kaggle" and is_wide else file.pixels
        success, encoded = cv2.imencode(path.suffix, pixels)
        assert success, "OpenCV writes PNG and JPEG"
        atomic_write_bytes(path, encoded.tobytes())
    return listing_row(file, relative_path)


def image_path(layout: str, file: ImageFile) -> Path:
    """Return the path of an image file in `layout`, relative to the root of the dataset."""
    suffix_digits = five_digits(file.series)
    if layout == "kaggle":
        return Path("jpeg", file.series, f"{file.index}-{suffix_digits % 300:03d}.jpg")
    if layout == "tcia":
        study = f"07-20-2016-DDSM-NA-{five_digits(file.study)}"
        return Path(file.subject, study, f"1.000000-{file.description}-{suffix_digits}", f"1-{file.index}.dcm")
    suffix = ".png" if layout == "png" else ".dcm"
    return Path(file.subject, file.study, file.series, f"{file.index - 1:06d}{suffix}")


def five_digits(uid: str) -> int:
    """Return five digits derived from a UID, as in the folder names of TCIA downloads."""
    return int(hashlib.sha256(uid.encode()).hexdigest()[:8], 16) % 90000 + 10000


def listing_row(file: ImageFile, path: Path) -> dict[str, Any]:
    """Return the cells of an image file in NBIA's metadata.csv and Kaggle's dicom_info.csv."""
    return {
        "Series UID": file.series,
        "Collection": "CBIS-DDSM",
        "Subject ID": file.subject,
        "Study UID": file.study,
        "Study Date": "07-20-2016",
        "Series Description": file.description,
        "Modality": "MG",
        "File Location": f"./{path.parent.as_posix()}",
        "file_path": f"CBIS-DDSM/dicom/{file.series}/{path.stem}.dcm",
        "image_path": f"CBIS-DDSM/{path.as_posix()}",
        "BitsAllocated": 8 * file.pixels.itemsize,
        "Columns": file.pixels.shape[1],
        "Laterality": file.subject.split("_")[3][0],
        "PatientID": file.subject,
        "PatientOrientation": file.subject.split("_")[4],
        "Rows": file.pixels.shape[0],
        "SeriesDescription": file.description,
        "SeriesInstanceUID": file.series,
        "StudyInstanceUID": file.study,
    }


def write_cbis_ddsm_dicom(path: Path, file: ImageFile) -> None:
    """Write an image file as DICOM."""
    write_greyscale_dicom(
        path,
        file.pixels,
        bits=8 * file.pixels.itemsize,
        uids=(file.series, str(file.index)),
        SOPClassUID=SECONDARY_CAPTURE,
        StudyInstanceUID=file.study,
        SeriesInstanceUID=file.series,
        SeriesDescription=file.description,
        InstanceNumber=file.index,
        PatientID=file.subject,
        PatientName=file.subject,
        ConversionType="WSD",
    )


def write_descriptions(folder: Path, specs: Sequence[CbisDdsmImageSpec], *, old: bool) -> None:
    """Write the description tables of the masses, with the columns of the first edition if `old`."""
    for part, name in (("Training", "train"), ("Test", "test")):
        rows = [
            description_row(image, lesion, old) for image in specs if image.part == part for lesion in image.lesions
        ]
        columns = FIRST_EDITION_COLUMNS if old else DESCRIPTION_COLUMNS
        write_csv(folder / f"mass_case_description_{name}_set.csv", columns, rows)


def description_row(image: CbisDdsmImageSpec, lesion: LesionSpec, old: bool) -> dict[str, Any]:
    """Return the row of a mass; the path of the mask ends with a newline inside the quotes, as in TCIA's tables."""

    def path(subject: str, study: str, series: str, index: int) -> str:
        return f"{subject}/{study}/{series}/{index:06d}.dcm"

    subject = f"{image.name}_{lesion.abnormality}"
    full_image = path(image.name, *series_uids(image), 0)
    mask = path(subject, *series_uids(image, lesion, "mask"), 1)
    crop = path(subject, *series_uids(image, lesion, "crop"), 0)
    if lesion.swapped:
        mask, crop = crop, mask
    cells = [
        *(image.patient, image.density, image.side, image.view, lesion.abnormality, "mass"),
        *("IRREGULAR", "SPICULATED", 4, "MALIGNANT", 4),
        *(full_image, crop, f"{mask}\n"),
    ]
    if old:
        cells = [cell.replace("/", "\\") if isinstance(cell, str) else cell for cell in cells]
    return dict(zip(FIRST_EDITION_COLUMNS if old else DESCRIPTION_COLUMNS, cells, strict=True))
