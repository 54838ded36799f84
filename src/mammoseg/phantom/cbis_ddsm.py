"""Writes phantoms as CBIS-DDSM, in each layout people have, with the traps of the real one.

Films with labels, tape and frames; 16-bit pixels; several abnormalities per image; tables whose columns for mask and
crop are swapped in places, then with both in different studies; masks of another size than their image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg import validate
from mammoseg.data.preprocessing.preprocess import rasterise
from mammoseg.files import atomic_dir, atomic_write_bytes
from mammoseg.phantom.anatomy import draw
from mammoseg.phantom.cbis_ddsm_tables import COLUMNS, DICOM_INFO, METADATA, OLD_COLUMNS, write_table
from mammoseg.phantom.dicom import SECONDARY_CAPTURE, write_grey
from mammoseg.phantom.film import scan
from mammoseg.phantom.write import ASPECT, check, densities, every

LAYOUTS = ("tcia", "tcia_old", "kaggle", "png")
TEST_SHARE = 0.22  # of the patients
SEVERAL = 0.15  # of the images have two or three masses
SWAPPED = 0.1  # of the masses: mask and crop stand in each other's column
RESIZED = 0.08  # of the masses: the mask has another size than the image


@dataclass(frozen=True)
class Lesion:
    number: int
    swapped: bool
    scale: float  # of the mask's sides; 1 where they are the image's


@dataclass(frozen=True)
class Plan:
    """One image to be drawn."""

    patient: str
    part: str  # Training or Test
    side: str  # LEFT or RIGHT
    view: str
    density: int
    lesions: tuple[Lesion, ...]
    seed: tuple[int, int]

    @property
    def name(self) -> str:
        return f"Mass-{self.part}_{self.patient}_{self.side}_{self.view}"

    @property
    def masses(self) -> int:
        return len(self.lesions)


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
    validate.one_of("layout", layout, LAYOUTS)
    plans = plan(cases, seed)
    with atomic_dir(root) as scratch:
        series = [one for found in every(partial(write_image, scratch, height, layout), plans) for one in found]
        write_descriptions(scratch / ("csv" if layout == "kaggle" else ""), plans, old=layout == "tcia_old")
        if layout == "tcia":
            write_table(scratch / "metadata.csv", METADATA, series)
        if layout == "kaggle":
            write_table(scratch / "csv" / "dicom_info.csv", DICOM_INFO, series)
    return plans


def plan(cases: int, seed: int) -> list[Plan]:
    """Patients of one to four images each; a patient's breasts are of one density, and in one part."""
    rng = np.random.default_rng(seed)
    views = [(side, view) for side in ("LEFT", "RIGHT") for view in ("CC", "MLO")]
    patients: list[list[tuple[str, str]]] = []
    while (left := cases - sum(map(len, patients))) > 0:
        count = min(int(rng.integers(1, 5)), left)
        patients.append([views[chosen] for chosen in sorted(rng.permutation(4)[:count])])
    density = densities(rng, len(patients))
    numbers = sorted(rng.choice(np.arange(1, 2000), len(patients), replace=False).tolist())
    tested = set(rng.permutation(len(patients))[: max(round(TEST_SHARE * len(patients)), 1)].tolist())
    images = [(who, *view) for who, chosen in enumerate(patients) for view in chosen]
    # Each trap at least once: in the first three images.
    return [
        Plan(
            patient=f"P_{numbers[who]:05d}",
            part="Test" if who in tested else "Training",
            side=side,
            view=view,
            density=density[who],
            lesions=lesions(rng, several=place == 0, swapped=place == 1, resized=place == 2),
            seed=(seed, place),
        )
        for place, (who, side, view) in enumerate(images)
    ]


def lesions(rng: np.random.Generator, *, several: bool, swapped: bool, resized: bool) -> tuple[Lesion, ...]:
    count = int(rng.integers(2, 4)) if several or rng.random() < SEVERAL else 1
    first = 1 + int(rng.random() < 0.05)  # the real ids are not always 1..n
    return tuple(
        Lesion(
            number=first + n,
            swapped=bool(swapped or rng.random() < SWAPPED),
            scale=float(rng.uniform(0.8, 0.95)) if resized or rng.random() < RESIZED else 1.0,
        )
        for n in range(count)
    )


def uid(*sources: object) -> str:
    """A UID under the root that CBIS-DDSM's own have."""
    number = int(hashlib.sha256(repr(sources).encode()).hexdigest()[:32], 16)
    return f"1.3.6.1.4.1.9590.100.1.2.{number}"


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


def series_of(image: Plan, lesion: Lesion | None = None, what: str = "") -> tuple[str, str]:
    """The UIDs of study and series. Crop and mask share them, but for those whose columns are swapped."""
    apart = what if lesion is not None and lesion.swapped else ""
    number = lesion.number if lesion is not None else 0
    return uid("study", image.name, number, apart), uid("series", image.name, number, apart)


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
    """Write the file at its path in `layout`; returns its row of the download's listing."""
    path = picture_path(layout, picture)
    file = folder / path
    if file.suffix == ".dcm":
        file.parent.mkdir(parents=True, exist_ok=True)
        write_film(file, picture)
    else:
        grey = (picture.pixels >> 8).astype(np.uint8) if layout == "kaggle" and picture.pixels.itemsize == 2 else None
        written, encoded = cv2.imencode(file.suffix, picture.pixels if grey is None else grey)
        assert written, "OpenCV writes PNG and JPEG"
        atomic_write_bytes(file, encoded.tobytes())
    return listing_row(picture, path)


def picture_path(layout: str, picture: Picture) -> Path:
    """Where the picture is in `layout`, relative to the dataset's folder."""
    tail = short_number(picture.series)
    if layout == "kaggle":
        return Path("jpeg", picture.series, f"{picture.number}-{tail % 300:03d}.jpg")
    if layout == "tcia":
        study = f"07-20-2016-DDSM-NA-{short_number(picture.study)}"
        return Path(picture.subject, study, f"1.000000-{picture.description}-{tail}", f"1-{picture.number}.dcm")
    suffix = ".png" if layout == "png" else ".dcm"
    return Path(picture.subject, picture.study, picture.series, f"{picture.number - 1:06d}{suffix}")


def short_number(uid: str) -> int:
    """Five digits that follow from a UID, as in the folder names of TCIA's downloads."""
    return int(hashlib.sha256(uid.encode()).hexdigest()[:8], 16) % 90000 + 10000


def listing_row(picture: Picture, path: Path) -> dict[str, Any]:
    """The columns of NBIA's metadata.csv and of Kaggle's dicom_info.csv for one picture."""
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


def write_descriptions(folder: Path, plans: Sequence[Plan], *, old: bool) -> None:
    for part, name in (("Training", "train"), ("Test", "test")):
        rows = [row(image, lesion, old) for image in plans if image.part == part for lesion in image.lesions]
        columns = OLD_COLUMNS if old else COLUMNS
        write_table(folder / f"mass_case_description_{name}_set.csv", columns, rows)


def row(image: Plan, lesion: Lesion, old: bool) -> dict[str, Any]:
    """One mass; the mask's path ends with a newline inside its quotes, as TCIA's do."""

    def path(subject: str, study: str, series: str, number: int) -> str:
        return f"{subject}/{study}/{series}/{number:06d}.dcm"

    subject = f"{image.name}_{lesion.number}"
    film = path(image.name, *series_of(image), 0)
    mask = path(subject, *series_of(image, lesion, "mask"), 1)
    crop = path(subject, *series_of(image, lesion, "crop"), 0)
    if lesion.swapped:
        mask, crop = crop, mask
    cells = [
        *(image.patient, image.density, image.side, image.view, lesion.number, "mass"),
        *("IRREGULAR", "SPICULATED", 4, "MALIGNANT", 4),
        *(film, crop, f"{mask}\n"),
    ]
    if old:
        cells = [cell.replace("/", "\\") if isinstance(cell, str) else cell for cell in cells]
    return dict(zip(OLD_COLUMNS if old else COLUMNS, cells, strict=True))
