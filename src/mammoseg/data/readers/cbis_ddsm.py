"""CBIS-DDSM, as people really have it, -> one record per image with all its masses.

The description tables say which images there are; the files are looked for by the names that stand in their
paths, so that these layouts are told apart by themselves, and may be mixed:

- TCIA/NBIA downloads, `<image>/<study>/<series>/000000.dcm` or `1-1.dcm`, with UIDs or descriptions as folder names,
- the Kaggle JPEG edition, `jpeg/<series uid>/1-172.jpg`,
- PNG or TIFF exports that mirror the tree of TCIA.

Which file of a mass is its mask and which is a crop is decided later, by the pixels: the tables swap them, and so do
file and folder names. Nothing is decoded here.
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mammoseg.data.images.read import DICOM_SUFFIXES, PICTURE_SUFFIXES
from mammoseg.data.readers.csv_table import read_csv
from mammoseg.data.readers.mammogram import DENSITIES, BadCases, Mammogram
from mammoseg.errors import UserError

log = logging.getLogger(__name__)

# Mass-Training_P_00001_LEFT_CC, with _1 behind it for the first mass of that image.
SUBJECT = re.compile(
    r"(?P<image>(?P<kind>Mass|Calc)-(?P<part>Training|Test)_(?P<patient>P_\d+)_(?P<side>LEFT|RIGHT)_(?P<view>CC|MLO))"
    r"(?:_(?P<mass>\d+))?",
    re.IGNORECASE,
)
UID = re.compile(r"(?:\d+\.){5,}\d+")
PARTS = {"training": "train", "test": "test"}
# Spellings of the columns in the tables' editions, without blanks and underscores.
COLUMNS = {
    "patient": ("patientid", "patient"),
    "density": ("breastdensity", "density"),
    "number": ("abnormalityid", "abnnum", "abnid"),
    "kind": ("abnormalitytype",),
    "image": ("imagefilepath", "odimgpath"),
    "crop": ("croppedimagefilepath", "odcroppath"),
    "mask": ("roimaskfilepath", "maskpath"),
}
DEPTH = 8
WHERE = (
    "dataset.root has to hold CBIS-DDSM's files and mass_case_description_train_set.csv and "
    "mass_case_description_test_set.csv: from The Cancer Imaging Archive (doi 10.7937/K9/TCIA.2016.7O02S9CY), or the "
    "Kaggle copy awsaf49/cbis-ddsm-breast-cancer-image-dataset; dataset.reader.tables=DIR if the tables lie elsewhere"
)


@dataclass(frozen=True)
class Row:
    """One mass, as a description table has it."""

    place: str  # table and line, for messages
    image: str  # Mass-Training_P_00001_LEFT_CC
    number: str
    density: str
    image_path: PurePosixPath
    mask_paths: tuple[PurePosixPath, ...]  # of mask and crop: they may be swapped


@dataclass
class Files:
    """Image files by what their paths say."""

    by_subject: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    by_series: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    tables: list[Path] = field(default_factory=list)

    def find(self, path: PurePosixPath) -> list[Path]:
        """The files of the series that a table's path names: by the series' UID, or else by the subject's folder."""
        series = next((part for part in reversed(path.parts) if UID.fullmatch(part)), "")
        return self.by_series.get(series) or self.by_subject.get(path.parts[0].lower(), [])


def read(root: Path, bad: BadCases, *, tables: str | None = None) -> list[Mammogram]:
    """The images of the mass tables, sorted by name, with their official part (train or test).

    `tables`: folder of the description tables, if it is not below `root`. Images of which a file is missing, or
    whose rows contradict each other, go into `bad`. Raises UserError if there is no CBIS-DDSM at `root`.
    """
    root = Path(root)
    files = find(root)
    elsewhere = find(Path(tables).expanduser()).tables if tables else files.tables
    rows = read_tables(elsewhere, root, bad)
    if not rows:
        raise UserError(f"{root if tables is None else tables}: no description table of masses there; {WHERE}")
    if not files.by_subject and not files.by_series:
        raise UserError(f"{root}: description tables, but no image files; {WHERE}")
    images: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        images[row.image].append(row)
    mammograms = []
    for name in sorted(images):
        try:
            mammograms.append(mammogram(name, images[name], files))
        except ValueError as error:
            bad.add(name, error)
    return mammograms


def mammogram(name: str, rows: Sequence[Row], files: Files) -> Mammogram:
    """Raises ValueError with the reason."""
    subject = SUBJECT.fullmatch(name)
    assert subject is not None, "read_tables lets no other in"
    if len(densities := {row.density for row in rows if row.density not in ("", "0")}) > 1:
        raise ValueError(f"its rows have several densities ({', '.join(sorted(densities))}); mend the table")
    density = densities.pop() if densities else None
    if density is not None and density not in map(str, DENSITIES):
        raise ValueError(f"density {density!r} is no ACR category 1-4; mend the table")
    films = same_stem_once(files.find(rows[0].image_path))
    if not films:
        raise ValueError("the full mammogram is missing; download its series")
    if len(films) > 1:
        # Two studies of one image: the larger file is the film itself.
        films = sorted(films, key=lambda file: (-file.stat().st_size, file))
        log.warning("%s: %d files of the full mammogram; the largest is taken", name, len(films))
    masses: dict[str, tuple[Path, ...]] = {}
    for row in rows:
        found = {file: None for path in row.mask_paths for file in files.find(path) if file != films[0]}
        if not found:
            raise ValueError(f"the mask of abnormality {row.number} is missing; download its ROI mask series")
        masses[row.number] = tuple(same_stem_once([*masses.get(row.number, ()), *found]))
    return Mammogram(
        case=name,
        image_file=films[0],
        patient=subject["patient"].upper(),
        density=int(density) if density else None,
        side=subject["side"][0].upper(),
        view=subject["view"].upper(),
        mask_files=tuple(masses[number] for number in sorted(masses)),
        trusted_masks=False,
        split=PARTS[subject["part"].lower()],
        masses=len(masses),
    )


def same_stem_once(files: Sequence[Path]) -> list[Path]:
    """1-1.dcm and a 1-1.png made from it are one picture: the DICOM file goes before."""
    ranked = sorted(files, key=lambda file: (file.suffix.lower() not in DICOM_SUFFIXES, file))
    kept: dict[tuple[Path, str], Path] = {}
    for file in ranked:
        kept.setdefault((file.parent, file.stem), file)
    return sorted(kept.values())


# -- files ------------------------------------------------------------------------------------------------


def find(root: Path) -> Files:
    """Raises UserError if `root` is no folder or cannot be listed."""
    if not root.is_dir():
        what = "a file, not a folder; unpack it" if root.is_file() else "no such folder"
        raise UserError(f"{root}: {what}; {WHERE}")
    files = Files()
    listings: list[Path] = []
    for folder, names in walk(root):
        place = PurePosixPath(folder.relative_to(root).as_posix())
        subject = next((part.lower() for part in reversed(place.parts) if SUBJECT.fullmatch(part)), None)
        # Folders may carry something around the UID, such as MG_<uid>.
        series = next((found[0] for part in reversed(place.parts) if (found := UID.search(part))), None)
        for name in names:
            suffix = Path(name).suffix.lower()
            if suffix == ".csv":
                (listings if name.lower() in LISTINGS else files.tables).append(folder / name)
            elif suffix in (*DICOM_SUFFIXES[:-1], *PICTURE_SUFFIXES):
                if subject is not None:
                    files.by_subject[subject].append(folder / name)
                if series is not None:
                    files.by_series[series].append(folder / name)
    for listing in sorted(listings):
        add_listed(listing, root, files)
    return files


def walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder and its file names, in a fixed order; links are followed, each folder is seen once."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be listed ({error.strerror}); check its permissions")

    seen: set[str] = set()
    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        place = os.path.realpath(folder)
        if place in seen or len(Path(folder).relative_to(root).parts) > DEPTH:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        yield Path(folder), sorted(name for name in names if not name.startswith("."))


# Listings that come with downloads: file -> columns with the series' UID and with its place.
LISTINGS = {"metadata.csv": ("Series UID", "File Location"), "dicom_info.csv": ("SeriesInstanceUID", "image_path")}


def add_listed(listing: Path, root: Path, files: Files) -> None:
    """Series whose folder name does not tell their UID: NBIA's metadata.csv and Kaggle's dicom_info.csv do."""
    uid_column, place_column = LISTINGS[listing.name.lower()]
    for _, row in read_csv(listing)[1]:
        uid, place = row.get(uid_column, ""), row.get(place_column, "").replace("\\", "/")
        if not uid or not place or uid in files.by_series:
            continue
        parts = PurePosixPath(place).parts
        # The place begins with folders of the machine it was written on: the longest end that exists here counts.
        candidates = [base.joinpath(*parts[skip:]) for base in (listing.parent, root) for skip in range(len(parts))]
        if (found := next((path for path in candidates if path.exists()), None)) is None:
            continue
        inside = sorted(found.iterdir()) if found.is_dir() else [found]
        files.by_series[uid] = [file for file in inside if file.suffix.lower() in (*DICOM_SUFFIXES, *PICTURE_SUFFIXES)]


# -- tables -----------------------------------------------------------------------------------------------


def read_tables(tables: Sequence[Path], root: Path, bad: BadCases) -> list[Row]:
    """The masses of all description tables, whatever their edition. Other CSV files are passed over."""
    rows: dict[tuple[str, str], Row] = {}
    for table in sorted(tables):
        place = table.relative_to(root).as_posix() if table.is_relative_to(root) else table.name
        for line, values in read_csv(table)[1]:
            known = named(values)
            if not {"image", "mask", "density"} <= known.keys():
                break  # not a description table
            if known.get("kind", "mass").lower() != "mass" and not known["image"].lower().startswith("mass"):
                continue
            try:
                row = from_record(f"{place} line {line}", known)
            except ValueError as error:
                bad.add(f"{place} line {line}", error)
                continue
            before = rows.setdefault((row.image, row.number), row)
            if (before.density, before.image_path) != (row.density, row.image_path):
                bad.add(row.place, f"contradicts {before.place} on {row.image}, abnormality {row.number}; keep one")
    return list(rows.values())


def named(values: Mapping[str, str]) -> dict[str, str]:
    """The cells under our names for their columns."""
    plain = {re.sub(r"[\s_-]", "", column).lower(): cell for column, cell in values.items()}
    return {ours: plain[spelling] for ours, spellings in COLUMNS.items() for spelling in spellings if spelling in plain}


def from_record(place: str, known: Mapping[str, str]) -> Row:
    """Raises ValueError with the reason."""
    paths = {
        name: PurePosixPath(known.get(name, "").replace("\\", "/").strip("/ ")) for name in ("image", "mask", "crop")
    }
    # Some copies put folders in front: the path proper begins where the subject stands.
    for name, path in paths.items():
        start = next((n for n, part in enumerate(path.parts) if SUBJECT.fullmatch(part)), None)
        paths[name] = PurePosixPath(*path.parts[start:]) if start is not None else PurePosixPath()
    if not paths["image"].parts:
        raise ValueError("the image file path names no image such as Mass-Training_P_00001_LEFT_CC; take TCIA's table")
    subject = SUBJECT.fullmatch(paths["image"].parts[0])
    assert subject is not None, "it begins there"
    masks = tuple(path for path in (paths["mask"], paths["crop"]) if path.parts)
    if not masks:
        raise ValueError("neither mask nor crop has a path; take TCIA's table")
    masked = SUBJECT.fullmatch(masks[0].parts[0])
    number = known.get("number") or (masked["mass"] if masked else "") or "1"
    density = known["density"].removesuffix(".0")
    return Row(place, subject["image"], number, density, paths["image"], masks)
