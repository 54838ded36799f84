"""Files of CBIS-DDSM in any layout, located by the names in their paths."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mammoseg.data.images.read import DICOM_SUFFIXES, IMAGE_SUFFIXES
from mammoseg.data.readers.cbis_ddsm_descriptions import SUBJECT
from mammoseg.data.readers.csv_table import read_csv
from mammoseg.data.readers.file_tree import require_folder, walk

UID = re.compile(r"(?:\d+\.){5,}\d+")
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
