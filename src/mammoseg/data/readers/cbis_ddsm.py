"""Reader of CBIS-DDSM: one `Mammogram` per image, with all its masses, or with none.

The description tables list the images; files are located by the names in their paths, so the following layouts are
detected automatically and may be mixed:

- TCIA/NBIA downloads, `<image>/<study>/<series>/000000.dcm` or `1-1.dcm`, with UIDs or descriptions as folder names,
- the Kaggle JPEG edition, `jpeg/<series uid>/1-172.jpg`,
- PNG or TIFF exports that mirror the tree of TCIA.

Whether a file of a mass is its mask or a crop is determined later, from the pixels: tables, file names and folder
names sometimes swap them. Pixels are not decoded.

The images without a mass are those of the calcification tables that are not in the mass tables as well. Calcifications
are not masses, so their masks are not used.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mammoseg.data.readers.cbis_ddsm_descriptions import SUBJECT, LesionDescription, read_descriptions
from mammoseg.data.readers.cbis_ddsm_files import DOWNLOAD_HINT, CbisDdsmFiles, dedupe_by_stem, find_files
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

log = logging.getLogger(__name__)

SPLIT_OF_PART = {"training": "train", "test": "test"}


def read(root: Path, rejected: RejectedCases, *, tables: str | None = None, negatives: bool = False) -> list[Mammogram]:
    """Read the images in the mass description tables, sorted by name, with their official part (train or test).

    Args:
        root: Folder of the dataset.
        rejected: Receives images with missing files or contradictory rows.
        tables: Folder of the description tables, if not inside `root`.
        negatives: Whether to read the images without a mass as well, see `read_negatives`.

    Returns:
        The accepted images; those without a mass come last.

    Raises:
        UserError: If `root` does not contain CBIS-DDSM, or with `negatives`, if there is no table of calcifications.
    """
    root = Path(root)
    files = find_files(root)
    table_files = find_files(Path(tables).expanduser()).tables if tables else files.tables
    rows = read_descriptions(table_files, root, rejected)
    if not rows:
        raise UserError(f"{root if tables is None else tables}: no description table of masses found; {DOWNLOAD_HINT}")
    if not files.by_subject and not files.by_series:
        raise UserError(f"{root}: description tables, but no image files; {DOWNLOAD_HINT}")
    mammograms = make_mammograms(group_by_image(rows), files, rejected)
    if negatives:
        lesions = read_descriptions(table_files, root, rejected, masses=False)
        if not lesions:
            raise UserError(
                f"{root if tables is None else tables}: dataset.negatives must be none without the tables of "
                "calcifications; add calc_case_description_train_set.csv and calc_case_description_test_set.csv"
            )
        mammograms += read_negatives(lesions, rows, files, rejected)
    return mammograms


def read_negatives(
    calcifications: Sequence[LesionDescription],
    masses: Sequence[LesionDescription],
    files: CbisDdsmFiles,
    rejected: RejectedCases,
) -> list[Mammogram]:
    """Create the images without a mass: the films with calcifications that are not in the mass tables.

    The mass and calcification tables share films and patients, but not the assignment to parts. A film is identified by
    patient, side and view, whose names start with Mass or Calc. All images of a patient are in one part: that of the
    mass tables if the patient is in them, otherwise train if it is in both calcification tables.

    Args:
        calcifications: Rows of the calcification tables.
        masses: Rows of the mass tables.
        files: Files of the dataset.
        rejected: Receives images with missing files or contradictory rows.

    Returns:
        The accepted images, sorted by name.
    """
    images = group_by_image(calcifications)
    part_of: dict[str, str] = {}
    for name in sorted(images):
        patient, part = subject_of(name)["patient"].upper(), SPLIT_OF_PART[subject_of(name)["part"].lower()]
        part_of[patient] = "train" if part_of.get(patient, part) != part else part
    part_of |= {
        subject_of(row.image)["patient"].upper(): SPLIT_OF_PART[subject_of(row.image)["part"].lower()] for row in masses
    }
    films = {film_of(row.image) for row in masses}
    without_mass = {}
    for name in sorted(images):
        if film_of(name) not in films:
            films.add(film_of(name))  # a film may be in both calcification tables
            without_mass[name] = images[name]
    mammograms = make_mammograms(without_mass, files, rejected, masses=False)
    return [replace(mammogram, split=part_of[mammogram.patient]) for mammogram in mammograms]


def subject_of(name: str) -> re.Match[str]:
    """Return the parts of the name of an image, such as Mass-Training_P_00001_LEFT_CC."""
    subject = SUBJECT.fullmatch(name)
    assert subject is not None, "parse_description rejects other names"
    return subject


def film_of(name: str) -> tuple[str, str, str]:
    """Return patient, side and view of an image, which are the same in the mass and the calcification tables."""
    subject = subject_of(name)
    return subject["patient"].upper(), subject["side"].upper(), subject["view"].upper()


def group_by_image(rows: Sequence[LesionDescription]) -> dict[str, list[LesionDescription]]:
    """Group the rows of description tables by the name of the image."""
    images: dict[str, list[LesionDescription]] = defaultdict(list)
    for row in rows:
        images[row.image].append(row)
    return images


def make_mammograms(
    images: Mapping[str, Sequence[LesionDescription]],
    files: CbisDdsmFiles,
    rejected: RejectedCases,
    *,
    masses: bool = True,
) -> list[Mammogram]:
    """Create the mammograms, sorted by name; those with missing files or contradictory rows are rejected.

    Args:
        images: Rows of each image.
        files: Files of the dataset.
        rejected: Receives the rejected images.
        masses: Whether the rows describe masses.
    """
    mammograms = []
    for name in sorted(images):
        try:
            mammograms.append(make_mammogram(name, images[name], files, masses=masses))
        except ValueError as error:
            rejected.add(name, error)
    return mammograms


def make_mammogram(
    name: str, rows: Sequence[LesionDescription], files: CbisDdsmFiles, *, masses: bool = True
) -> Mammogram:
    """Create the `Mammogram` of one image from the rows of its lesions.

    Args:
        name: Name of the image, such as Mass-Training_P_00001_LEFT_CC.
        rows: Descriptions of its masses, or of its calcifications.
        files: Files of the dataset.
        masses: Whether the rows describe masses; otherwise, the image has none.

    Raises:
        ValueError: If a file is missing or the densities are invalid; the message is the reason.
    """
    subject, density, image_file = subject_of(name), density_of(rows), find_image(name, rows[0], files)
    mask_files = find_masks(rows, files, image_file) if masses else {}
    return Mammogram(
        case=name,
        image_file=image_file,
        patient=subject["patient"].upper(),
        density=density,
        side=subject["side"][0].upper(),
        view=subject["view"].upper(),
        mask_candidates=tuple(files for _, files in sorted(mask_files.items())),
        masks_verified=False,
        split=SPLIT_OF_PART[subject["part"].lower()],
        masses=len(mask_files),
    )


def find_image(name: str, row: LesionDescription, files: CbisDdsmFiles) -> Path:
    """Return the file of the full mammogram.

    Args:
        name: Name of the image.
        row: Description of one of its lesions.
        files: Files of the dataset.

    Raises:
        ValueError: If it is missing; the message is the reason.
    """
    full_images = dedupe_by_stem(files.find(row.image_path))
    if not full_images:
        raise ValueError("the full mammogram is missing; download its series")
    if len(full_images) > 1:
        # Two studies of one image: the larger file is the full mammogram.
        full_images = sorted(full_images, key=lambda file: (-file.stat().st_size, file))
        log.warning("%s: %d files of the full mammogram; using the largest", name, len(full_images))
    return full_images[0]


def find_masks(
    rows: Sequence[LesionDescription], files: CbisDdsmFiles, image_file: Path
) -> dict[str, tuple[Path, ...]]:
    """Return the files that may be the mask of each mass, by abnormality.

    Args:
        rows: Descriptions of the masses of an image.
        files: Files of the dataset.
        image_file: File of the full mammogram.

    Raises:
        ValueError: If the files of a mass are missing; the message is the reason.
    """
    masses: dict[str, tuple[Path, ...]] = {}
    for row in rows:
        candidates = {file: None for path in row.mask_paths for file in files.find(path) if file != image_file}
        if not candidates:
            raise ValueError(f"the mask of abnormality {row.abnormality} is missing; download its ROI mask series")
        masses[row.abnormality] = tuple(dedupe_by_stem([*masses.get(row.abnormality, ()), *candidates]))
    return masses


def density_of(rows: Sequence[LesionDescription]) -> ACRDensity | None:
    """Return the density of an image from the rows of its masses, or None if it is unknown.

    Raises:
        ValueError: If the rows differ or a cell is invalid; the message is the reason.
    """
    if len(densities := {row.density for row in rows if row.density not in ("", "0")}) > 1:
        raise ValueError(f"rows of the image have different densities ({', '.join(sorted(densities))}); fix the table")
    text = densities.pop() if densities else ""
    try:
        return ACRDensity.parse(text)
    except ValueError:
        raise ValueError(f"density must be an ACR category 1 to 4, got {text!r}; fix the table") from None
