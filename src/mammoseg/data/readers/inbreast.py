"""INbreast, in its original layout or a common re-packaging, -> the images that have a mass.

Files are known by their names, wherever they lie up to five folders below the root and in any case of
letters: DICOM `<File Name>_<patient>_MG_<L|R>_<view>_ANON.dcm` (AllDICOMs/), outlines `<File Name>.xml`
(AllXML/), and the table `INbreast.csv`, or `INbreast.xls` where there is no CSV. The XML says what has a
mass: the table's own flag disagrees with it on three images. Nothing is decoded here.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import os
import plistlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from xml.parsers.expat import ExpatError

import numpy as np
from numpy.typing import NDArray
from python_calamine import CalamineError, CalamineWorkbook

from mammoseg.data.readers.mammogram import DENSITIES, BadCases, Mammogram
from mammoseg.errors import UserError

log = logging.getLogger(__name__)

LESIONS = ("mass", "spiculated region", "calcification", "cluster", "asymmetry", "distortion")
# The annotators' spellings of them.
ALIASES = {
    "espiculated region": "spiculated region",
    "calcifications": "calcification",
    "assymetry": "asymmetry",
}
VIEWS = {"ML": "MLO"}  # file names say ML where the table says MLO
DEPTH = 5  # Kaggle's zip puts the release two folders deep; a root far above should not be searched through
DICOM_NAME = re.compile(
    r"(?P<case>\d{8})(?!\d)(?:_(?P<patient>[0-9a-z]+)_MG_(?P<side>[LR])_(?P<view>[A-Z]+))?", re.IGNORECASE
)
CASE = re.compile(r"\d{8}")
POINT = re.compile(r"\s*\(([^,()]+),([^,()]+)\)\s*")
WHERE = (
    "dataset.root has to hold AllDICOMs/, AllXML/ and INbreast.csv: ask the INbreast authors for the release, "
    "or take the Kaggle copy ramanathansp20/inbreast-dataset, whose zip needs `unzip`"
)


@dataclass
class Files:
    dicoms: list[Path] = field(default_factory=list)
    outlines: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """What the table says of one image, as text."""

    acr: str
    side: str
    view: str


def read(root: Path, bad: BadCases, *, lesions: Sequence[str] = ("mass",)) -> list[Mammogram]:
    """The images that have an outline named like one of `lesions`, sorted by case.

    `lesions`: among LESIONS; an image's outlines and `masses` are all of these kinds. Outlines are as
    annotated, also where they leave the image (22670094 does). `density` is None where the ACR cell is
    blank. Raises UserError if `root` is no INbreast; one case that is unusable goes into `bad`.
    """
    root, names = Path(root), lesion_names(lesions)
    files = find(root)
    rows = read_table(files.tables)
    dicoms = by_case(files.dicoms, root, bad)
    mammograms = []
    for case, file in by_case(files.outlines, root, bad).items():
        try:
            outlines = read_outlines(file, names)
            if outlines:
                mammograms.append(mammogram(case, outlines, dicoms, rows))
        except ValueError as error:
            bad.add(file.relative_to(root).as_posix(), error)
    if unnamed := [each.case for each in mammograms if each.patient == each.case]:
        log.warning(
            "%d images have no patient in their file name, so each counts as a patient of its own and views "
            "of one woman may fall on both sides of a split; the original names are "
            "<File Name>_<patient>_MG_<L|R>_<view>_ANON.dcm",
            len(unnamed),
        )
    return mammograms


def lesion_names(lesions: Sequence[str]) -> set[str]:
    """In LESIONS' spelling. Raises UserError."""
    names = {normal(name) for name in ([lesions] if isinstance(lesions, str) else lesions)}
    if not names or not names <= set(LESIONS):
        raise UserError(f"dataset.reader.lesions={list(lesions)}, but it takes one or more of {', '.join(LESIONS)}")
    return names


def normal(name: object) -> str:
    """`Espiculated  Region ` -> `spiculated region`; a missing name -> ``."""
    spelt = " ".join(str(name or "").lower().split())
    return ALIASES.get(spelt, spelt)


# -- files ------------------------------------------------------------------------------------------------


def find(root: Path) -> Files:
    """Raises UserError, in one sentence, if a part of the dataset is missing."""
    if root.is_file():
        raise UserError(f"{root}: a file, not a folder; unpack it with `unzip` or `tar`, and note that {WHERE}")
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; {WHERE}")
    files = Files()
    for file in walk(root):
        suffix = file.suffix.lower()
        if suffix in (".dcm", ".dicom"):
            files.dicoms.append(file)
        elif suffix == ".xml" and CASE.fullmatch(file.stem):
            files.outlines.append(file)
        elif suffix in (".csv", ".xls", ".xlsx") and file.stem.lower() == "inbreast":
            files.tables.append(file)
    named = sum(DICOM_NAME.match(file.name) is not None for file in files.dicoms)
    if not named:
        raise UserError(f"{root}: no INbreast DICOM such as 22678622_<patient>_MG_L_CC_ANON.dcm there; {WHERE}")
    if not files.outlines:
        raise UserError(
            f"{root}: {named} DICOM files but no outlines (AllXML/*.xml), which copies like Kaggle's "
            f"martholi/inbreast lack; {WHERE}"
        )
    if not files.tables:
        raise UserError(f"{root}: no INbreast.csv or INbreast.xls, which has the ACR densities; {WHERE}")
    return files


def walk(root: Path) -> Iterator[Path]:
    """Every file that may count, in a fixed order; links are followed, each folder is seen once."""

    def refuse(error: OSError) -> NoReturn:
        raise UserError(f"{error.filename}: cannot be listed ({error.strerror}); check its permissions")

    seen: set[str] = set()
    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        if (place := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(place)
        deep = len(Path(folder).relative_to(root).parts) >= DEPTH
        # The pectoral muscle's XMLs may be named like those of the lesions.
        folders[:] = sorted(
            name for name in folders if not deep and not name.startswith((".", "__")) and "pectoral" not in name.lower()
        )
        # ._*: what macOS adds to archives; ~$*: an open spreadsheet's lock.
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith((".", "~$")))


def by_case(files: Sequence[Path], root: Path, bad: BadCases) -> dict[str, Path]:
    """Case -> its file, sorted; what has no case in its name, and second files of a case, go into `bad`."""
    cases: dict[str, Path] = {}
    # Copies have the longer names: `… (1).dcm`, `… - Copy.dcm`.
    for file in sorted(files, key=lambda file: (len(file.name), file)):
        place = file.relative_to(root).as_posix()
        name = DICOM_NAME.match(file.name)
        if name is None:
            bad.add(place, "the name does not begin with INbreast's 8 digits; rename the file or remove it")
        elif name["case"] in cases:
            first = cases[name["case"]].relative_to(root).as_posix()
            bad.add(place, f"a second file of {name['case']} beside {first}; remove one")
        else:
            cases[name["case"]] = file
    return dict(sorted(cases.items()))


def mammogram(
    case: str, outlines: Sequence[NDArray], dicoms: dict[str, Path], rows: dict[str, Row | None]
) -> Mammogram:
    """Raises ValueError with the reason if DICOM or table do not know the case."""
    if case not in dicoms:
        raise ValueError(f"a mass but no DICOM {case}_*.dcm; copy it from the release, or remove the XML")
    if case not in rows:
        raise ValueError(f"a mass but no row with File Name {case} in INbreast.csv; take the release's table")
    row = rows[case]
    if row is None:
        raise ValueError(f"rows of INbreast.csv contradict each other on {case}; keep the right one")
    if row.acr and row.acr not in map(str, DENSITIES):
        raise ValueError(f"ACR {row.acr!r} in INbreast.csv is no density 1-4; mend it or leave the cell blank")
    name = DICOM_NAME.match(dicoms[case].name)
    assert name is not None, "by_case lets no other in"
    view = (name["view"] or row.view).upper()
    return Mammogram(
        case=case,
        image_file=dicoms[case],
        # Follow-ups share it too. The table's Patient ID is the word `removed` on every row.
        patient=(name["patient"] or case).lower(),
        density=int(row.acr) if row.acr else None,
        side=(name["side"] or row.side).upper()[:1],
        view=VIEWS.get(view, view),
        outlines=tuple(outlines),
        masses=len(outlines),
    )


# -- the table --------------------------------------------------------------------------------------------


def read_table(files: Sequence[Path]) -> dict[str, Row | None]:
    """Case -> its row, None where rows contradict each other. A CSV goes before a spreadsheet.

    Raises UserError for a table without the columns, and for several tables that differ.
    """
    file, *others = sorted(files, key=lambda file: (file.suffix.lower(), file))  # .csv comes first
    lines = cells(file)
    for other in others:
        if other.suffix.lower() == file.suffix.lower() and cells(other) != lines:
            raise UserError(f"{file} and {other} differ; set dataset.root to the folder of one of them")
    columns = next((line for line in lines if "File Name" in line), [])
    if missing := [name for name in ("File Name", "ACR") if name not in columns]:
        raise UserError(f"{file}: no column {' and '.join(missing)}; replace it by the release's own table")
    rows: dict[str, Row | None] = {}
    for line in lines:
        values = dict(zip(columns, line, strict=False))
        # What has no File Name is the heading, a blank line, or the spreadsheet's totals.
        if CASE.fullmatch(case := values.get("File Name", "")):
            row = Row(values.get("ACR", ""), values.get("Laterality", ""), values.get("View", ""))
            rows[case] = row if rows.get(case, row) == row else None
    return rows


def cells(file: Path) -> list[list[str]]:
    """The lines of a CSV or of a spreadsheet's first sheet, without blanks around. Raises UserError."""
    lines: Iterable[Iterable[object]]
    try:
        if file.suffix.lower() == ".csv":
            content = file.read_bytes().decode("utf-8-sig", errors="replace")
            heading = content.partition("\n")[0]
            separator = max(";,\t", key=heading.count)
            lines = list(csv.reader(io.StringIO(content, newline=""), delimiter=separator))
        else:
            lines = CalamineWorkbook.from_path(str(file)).get_sheet_by_index(0).to_python()
    except (CalamineError, csv.Error, OSError):
        raise UserError(f"{file}: broken or not readable; replace it by the release's own table") from None
    # A spreadsheet holds numbers as floats: 22678622.0.
    return [[str(cell).strip().removesuffix(".0") for cell in line] for line in lines]


# -- outlines ---------------------------------------------------------------------------------------------


def read_outlines(file: Path, names: set[str]) -> list[NDArray[np.float64]]:
    """The polygons (N, 2) of (x, y) in full-size pixels whose ROI name is in `names`, in the file's order.

    Raises ValueError with the reason for a broken file or outline; other lesions are not looked at.
    """
    outlines = []
    for number, roi in enumerate(rois(file), start=1):
        if normal(roi.get("Name")) not in names:
            continue
        marks = roi.get("Point_px")
        points = [point(mark) for mark in marks] if isinstance(marks, list) else []
        if len(points) < 3:
            raise ValueError(
                f"outline {number} has {len(points)} point{'s' * (len(points) != 1)}, a mass needs 3 or more; "
                "fix the XML or set dataset.on_bad=skip"
            )
        if wrong := next((place for place, found in enumerate(points, start=1) if found is None), None):
            raise ValueError(
                f"outline {number}, point {wrong} is not two finite numbers (x, y); "
                "fix the XML or set dataset.on_bad=skip"
            )
        outlines.append(np.array(points, dtype=np.float64))
    return outlines


def rois(file: Path) -> list[dict[str, Any]]:
    """All ROIs of an OsiriX property list. Raises ValueError with the reason."""
    try:
        # plistlib refuses entity declarations, so no XML can blow itself up.
        content = plistlib.loads(file.read_bytes(), fmt=plistlib.FMT_XML)
    except ExpatError as error:
        raise ValueError(f"broken XML: {error}; copy it again from the release") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except Exception:  # plistlib lets through whatever its conversions of single values raise
        raise ValueError("broken XML: no property list; copy it again from the release") from None
    try:
        return [dict(roi.items()) for image in content["Images"] for roi in image["ROIs"]]
    except (AttributeError, LookupError, TypeError):
        raise ValueError("broken XML: no Images with ROIs in it; copy it again from the release") from None


def point(mark: object) -> tuple[float, float] | None:
    """`(12.5, 3)` -> (12.5, 3.0); None for anything else."""
    match = POINT.fullmatch(mark) if isinstance(mark, str) else None
    try:
        found = (float(match[1]), float(match[2])) if match else None
    except ValueError:
        return None
    return found if found and all(map(math.isfinite, found)) else None
