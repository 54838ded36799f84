"""Writes phantoms as CBIS-DDSM, in each layout people have, with the traps of the real one.

Films with labels, tape and frames; 16-bit pixels; several abnormalities per image; tables whose columns for mask and
crop are swapped in places, then with both in different studies; masks of another size than their image.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg.data.preprocessing.preprocess import rasterise
from mammoseg.errors import UserError
from mammoseg.files import atomic_dir
from mammoseg.phantom.anatomy import draw
from mammoseg.phantom.cbis_ddsm_plan import Lesion, Plan, plan, series_of
from mammoseg.phantom.cbis_ddsm_tables import write_descriptions, write_table
from mammoseg.phantom.dicom import SECONDARY_CAPTURE, write_grey
from mammoseg.phantom.film import scan
from mammoseg.phantom.write import ASPECT, check, every

LAYOUTS = ("tcia", "tcia_old", "kaggle", "png")
METADATA = (
    *("Series UID", "Collection", "Subject ID", "Study UID", "Study Date"),
    *("Series Description", "Modality", "File Location"),
)
DICOM_INFO = (
    *("file_path", "image_path", "BitsAllocated", "Columns", "Laterality"),
    *("PatientID", "PatientOrientation", "Rows", "SeriesDescription", "SeriesInstanceUID"),
    *("StudyInstanceUID",),
)


@dataclass(frozen=True)
class Picture:
    """One image file: whose it is, which series it lies in, and its pixels."""

    subject: str
    study: str
    series: str
    description: str
    number: int  # within its series, from 1
    pixels: NDArray[Any]


def write_cbis_ddsm(
    root: Path, *, cases: int = 40, seed: int = 0, height: int = 832, layout: str = "tcia"
) -> list[Plan]:
    """`cases` images below `root`. The folder appears whole or not at all; the same arguments, the same bytes.

    `layout`: "tcia" (folders named by NBIA, 1-1.dcm, metadata.csv), "tcia_old" (folders named by UIDs, 000000.dcm,
    tables of the first edition), "kaggle" (JPEG by series, dicom_info.csv) or "png" (tcia_old's tree, as pictures).
    Raises UserError as `write_inbreast` does.
    """
    check(root, cases, height)
    if layout not in LAYOUTS:
        raise UserError(f"layout={layout}, but the choices are {', '.join(LAYOUTS)}")
    plans = plan(cases, seed)
    with atomic_dir(root) as scratch:
        series = [one for found in every(partial(write_image, scratch, height, layout), plans) for one in found]
        write_descriptions(scratch / ("csv" if layout == "kaggle" else ""), plans, old=layout == "tcia_old")
        if layout == "tcia":
            write_table(scratch / "metadata.csv", METADATA, series)
        if layout == "kaggle":
            write_table(scratch / "csv" / "dicom_info.csv", DICOM_INFO, series)
    return plans


def write_image(folder: Path, height: int, layout: str, image: Plan) -> list[dict[str, Any]]:
    """Draws one image, writes its files, and returns what a listing says of their series."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(image.seed)
    side = image.side[0]
    phantom = draw(
        rng,
        density=image.density,
        view=image.view,
        side=side,
        height=height,
        width=round(height * ASPECT),
        masses=image.masses,
    )
    film = scan(rng, phantom, side)
    pictures = [Picture(image.name, *series_of(image), "full mammogram images", 1, film.pixels)]
    for lesion, outline in zip(image.lesions, film.outlines, strict=True):
        pictures += of_lesion(rng, image, lesion, film.pixels, outline)
    return [write_picture(folder, layout, picture) for picture in pictures]


def of_lesion(
    rng: np.random.Generator, image: Plan, lesion: Lesion, pixels: NDArray[np.uint16], outline: NDArray[np.float64]
) -> list[Picture]:
    """The mask of full size, 0 and 255, and the crop around it."""
    mask = rasterise([outline], *pixels.shape) * np.uint8(255)
    left, top, width, height = cv2.boundingRect(mask)
    crop = pixels[max(top - 8, 0) : top + height + 8, max(left - 8, 0) : left + width + 8]
    if lesion.scale != 1:
        shape = (round(mask.shape[1] * lesion.scale), round(mask.shape[0] * lesion.scale))
        mask = np.asarray(cv2.resize(mask, shape, interpolation=cv2.INTER_NEAREST), np.uint8)
    subject = f"{image.name}_{lesion.number}"
    mask_number = 1 if lesion.swapped else int(rng.integers(1, 3))
    crop_number = 1 if lesion.swapped else 3 - mask_number
    # Either name may stand on a folder that holds both.
    both = str(rng.choice(["ROI mask images", "cropped images"]))
    return [
        Picture(
            subject, *series_of(image, lesion, "mask"), "ROI mask images" if lesion.swapped else both, mask_number, mask
        ),
        Picture(
            subject, *series_of(image, lesion, "crop"), "cropped images" if lesion.swapped else both, crop_number, crop
        ),
    ]


def write_picture(folder: Path, layout: str, picture: Picture) -> dict[str, Any]:
    """The file where its layout has it; returns the row of a listing."""
    tail = int(hashlib.sha256(picture.series.encode()).hexdigest()[:8], 16) % 90000 + 10000
    if layout == "kaggle":
        path = Path("jpeg", picture.series, f"{picture.number}-{tail % 300:03d}.jpg")
    elif layout == "tcia":
        study = int(hashlib.sha256(picture.study.encode()).hexdigest()[:8], 16) % 90000 + 10000
        place = Path(picture.subject, f"07-20-2016-DDSM-NA-{study}", f"1.000000-{picture.description}-{tail}")
        path = place / f"1-{picture.number}.dcm"
    else:
        suffix = ".png" if layout == "png" else ".dcm"
        path = Path(picture.subject, picture.study, picture.series, f"{picture.number - 1:06d}{suffix}")
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".dcm":
        write_film(file, picture)
    else:
        grey = (picture.pixels >> 8).astype(np.uint8) if layout == "kaggle" and picture.pixels.itemsize == 2 else None
        cv2.imwrite(str(file), picture.pixels if grey is None else grey)
    return {
        "Series UID": picture.series,
        "Collection": "CBIS-DDSM",
        "Subject ID": picture.subject,
        "Study UID": picture.study,
        "Study Date": "07-20-2016",
        "Series Description": picture.description,
        "Modality": "MG",
        "File Location": f"./{path.parent.as_posix()}",
        "file_path": f"CBIS-DDSM/dicom/{picture.series}/{path.stem}.dcm",
        "image_path": f"CBIS-DDSM/{path.as_posix()}",
        "BitsAllocated": 8 * picture.pixels.itemsize,
        "Columns": picture.pixels.shape[1],
        "Laterality": picture.subject.split("_")[3][0],
        "PatientID": picture.subject,
        "PatientOrientation": picture.subject.split("_")[4],
        "Rows": picture.pixels.shape[0],
        "SeriesDescription": picture.description,
        "SeriesInstanceUID": picture.series,
        "StudyInstanceUID": picture.study,
    }


def write_film(path: Path, picture: Picture) -> None:
    write_grey(
        path,
        picture.pixels,
        bits=8 * picture.pixels.itemsize,
        uids=(picture.series, str(picture.number)),
        SOPClassUID=SECONDARY_CAPTURE,
        StudyInstanceUID=picture.study,
        SeriesInstanceUID=picture.series,
        SeriesDescription=picture.description,
        InstanceNumber=picture.number,
        PatientID=picture.subject,
        PatientName=picture.subject,
        ConversionType="WSD",
    )
