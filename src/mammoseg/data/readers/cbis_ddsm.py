"""Reader of CBIS-DDSM: one `Mammogram` per image, with all its masses.

The description tables list the images; files are located by the names in their paths, so the following layouts are
detected automatically and may be mixed:

- TCIA/NBIA downloads, `<image>/<study>/<series>/000000.dcm` or `1-1.dcm`, with UIDs or descriptions as folder names,
- the Kaggle JPEG edition, `jpeg/<series uid>/1-172.jpg`,
- PNG or TIFF exports that mirror the tree of TCIA.

Whether a file of a mass is its mask or a crop is determined later, from the pixels: tables, file names and folder
names sometimes swap them. Pixels are not decoded.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mammoseg.data.images.read import DICOM_SUFFIXES, IMAGE_SUFFIXES
from mammoseg.data.readers.cbis_ddsm_descriptions import SUBJECT, MassDescription, read_descriptions
from mammoseg.data.readers.csv_table import read_csv
from mammoseg.data.readers.file_tree import require_folder, walk
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

log = logging.getLogger(__name__)

UID = re.compile(r"(?:\d+\.){5,}\d+")
SPLIT_OF_PART = {"training": "train", "test": "test"}
# Listings in downloads, with the columns of the series UID and of the path.
LISTINGS = {"metadata.csv": ("Series UID", "File Location"), "dicom_info.csv": ("SeriesInstanceUID", "image_path")}
MAX_FOLDER_DEPTH = 8
DOWNLOAD_HINT = (
    "dataset.root must contain the images, mass_case_description_train_set.csv and "
    "mass_case_description_test_set.csv: from The Cancer Imaging Archive (doi 10.7937/K9/TCIA.2016.7O02S9CY), or the "
    "Kaggle copy awsaf49/cbis-ddsm-breast-cancer-image-dataset; set dataset.reader.tables if the tables are elsewhere"
)


@dataclass
class CbisDdsmFiles:
    """Files of the dataset.

    Attributes:
        by_subject: Image files by the subject that their path contains.
        by_series: Image files by the series UID that their path contains.
        tables: CSV files that may be description tables.
    """

    by_subject: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    by_series: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    tables: list[Path] = field(default_factory=list)

    def find(self, path: PurePosixPath) -> list[Path]:
        """Return the image files for a path of a table, matched by series UID or else by subject."""
        series = next((part for part in reversed(path.parts) if UID.fullmatch(part)), "")
        return self.by_series.get(series) or self.by_subject.get(path.parts[0].lower(), [])


def read(root: Path, rejected: RejectedCases, *, tables: str | None = None) -> list[Mammogram]:
    """Read the images in the mass description tables, sorted by name, with their official part (train or test).

    Args:
        root: Folder of the dataset.
        rejected: Receives images with missing files or contradictory rows.
        tables: Folder of the description tables, if not inside `root`.

    Returns:
        The accepted images.

    Raises:
        UserError: If `root` does not contain CBIS-DDSM.
    """
    root = Path(root)
    files = find_files(root)
    table_files = find_files(Path(tables).expanduser()).tables if tables else files.tables
    rows = read_descriptions(table_files, root, rejected)
    if not rows:
        raise UserError(f"{root if tables is None else tables}: no description table of masses found; {DOWNLOAD_HINT}")
    if not files.by_subject and not files.by_series:
        raise UserError(f"{root}: description tables, but no image files; {DOWNLOAD_HINT}")
    images: dict[str, list[MassDescription]] = defaultdict(list)
    for row in rows:
        images[row.image].append(row)
    mammograms = []
    for name in sorted(images):
        try:
            mammograms.append(make_mammogram(name, images[name], files))
        except ValueError as error:
            rejected.add(name, error)
    return mammograms


def make_mammogram(name: str, rows: Sequence[MassDescription], files: CbisDdsmFiles) -> Mammogram:
    """Create the `Mammogram` of one image from the rows of its masses.

    Args:
        name: Name of the image, such as Mass-Training_P_00001_LEFT_CC.
        rows: Descriptions of its masses.
        files: Files of the dataset.

    Raises:
        ValueError: If a file is missing or the densities are invalid; the message is the reason.
    """
    subject = SUBJECT.fullmatch(name)
    assert subject is not None, "parse_description rejects other names"
    density = density_of(rows)
    full_images = dedupe_by_stem(files.find(rows[0].image_path))
    if not full_images:
        raise ValueError("the full mammogram is missing; download its series")
    if len(full_images) > 1:
        # Two studies of one image: the larger file is the full mammogram.
        full_images = sorted(full_images, key=lambda file: (-file.stat().st_size, file))
        log.warning("%s: %d files of the full mammogram; using the largest", name, len(full_images))
    masses: dict[str, tuple[Path, ...]] = {}
    for row in rows:
        candidates = {file: None for path in row.mask_paths for file in files.find(path) if file != full_images[0]}
        if not candidates:
            raise ValueError(f"the mask of abnormality {row.abnormality} is missing; download its ROI mask series")
        masses[row.abnormality] = tuple(dedupe_by_stem([*masses.get(row.abnormality, ()), *candidates]))
    return Mammogram(
        case=name,
        image_file=full_images[0],
        patient=subject["patient"].upper(),
        density=density,
        side=subject["side"][0].upper(),
        view=subject["view"].upper(),
        mask_candidates=tuple(files for _, files in sorted(masses.items())),
        masks_verified=False,
        split=SPLIT_OF_PART[subject["part"].lower()],
        masses=len(masses),
    )


def density_of(rows: Sequence[MassDescription]) -> ACRDensity | None:
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


def dedupe_by_stem(files: Sequence[Path]) -> list[Path]:
    """Remove exports of DICOM files: of 1-1.dcm and 1-1.png in the same folder, keep 1-1.dcm."""
    ranked = sorted(files, key=lambda file: (file.suffix.lower() not in ("", *DICOM_SUFFIXES), file))
    by_stem: dict[tuple[Path, str], Path] = {}
    for file in ranked:
        by_stem.setdefault((file.parent, file.stem), file)
    return sorted(by_stem.values())


def find_files(root: Path) -> CbisDdsmFiles:
    """Find the images and tables below `root`.

    Raises:
        UserError: If `root` is not a folder or cannot be listed.
    """
    require_folder(root, DOWNLOAD_HINT)
    files = CbisDdsmFiles()
    listings: list[Path] = []
    for folder, names in walk(root, max_depth=MAX_FOLDER_DEPTH):
        parts = folder.relative_to(root).parts
        subject = next((part.lower() for part in reversed(parts) if SUBJECT.fullmatch(part)), None)
        # The folder name may contain more than the UID, as in MG_<uid>.
        series = next((match[0] for part in reversed(parts) if (match := UID.search(part))), None)
        for name in names:
            suffix = Path(name).suffix.lower()
            if suffix == ".csv":
                (listings if name.lower() in LISTINGS else files.tables).append(folder / name)
            elif suffix in IMAGE_SUFFIXES:
                if subject is not None:
                    files.by_subject[subject].append(folder / name)
                if series is not None:
                    files.by_series[series].append(folder / name)
    for listing in sorted(listings):
        index_listing(listing, root, files)
    return files


def index_listing(listing: Path, root: Path, files: CbisDdsmFiles) -> None:
    """Add the series whose paths do not contain the UID.

    Args:
        listing: NBIA's metadata.csv or Kaggle's dicom_info.csv.
        root: Folder of the dataset.
        files: Files of the dataset; series are added to `by_series`.
    """
    uid_column, path_column = LISTINGS[listing.name.lower()]
    for _, row in read_csv(listing)[1]:
        uid, listed_path = row.get(uid_column, ""), row.get(path_column, "").replace("\\", "/")
        if not uid or not listed_path or uid in files.by_series:
            continue
        parts = PurePosixPath(listed_path).parts
        # The path may start with folders of another machine: use its longest suffix that exists.
        candidates = [base.joinpath(*parts[skip:]) for base in (listing.parent, root) for skip in range(len(parts))]
        if (existing := next((path for path in candidates if path.exists()), None)) is None:
            continue
        members = sorted(existing.iterdir()) if existing.is_dir() else [existing]
        files.by_series[uid] = [file for file in members if file.suffix.lower() in ("", *IMAGE_SUFFIXES)]
