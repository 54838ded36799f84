"""Reader of INbreast, in its original layout or a common re-packaging: the images with a mass, or all images.

Files are identified by their names, up to five folders deep and ignoring case: DICOM
`<File Name>_<patient>_MG_<L|R>_<view>_ANON.dcm` (AllDICOMs/), outlines `<File Name>.xml` (AllXML/), and the table
`INbreast.csv`, or `INbreast.xls` if there is no CSV. The XML files determine which images have a mass; the flag in the
table disagrees with them on three images. Pixels are not decoded.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mammoseg.data.readers.file_tree import require_folder, walk
from mammoseg.data.readers.inbreast_table import CASE, InbreastRow, read_table
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.data.readers.osirix import LESIONS, canonical_lesion_name, read_outlines
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

log = logging.getLogger(__name__)

VIEW_ALIASES = {"ML": "MLO"}  # file names have ML where the table has MLO
MAX_FOLDER_DEPTH = 5  # Kaggle's archive contains the release at depth 2; the limit avoids searching an entire disk
DICOM_NAME = re.compile(
    r"(?P<case>\d{8})(?!\d)(?:_(?P<patient>[0-9a-z]+)_MG_(?P<side>[LR])_(?P<view>[A-Z]+))?", re.IGNORECASE
)
DOWNLOAD_HINT = (
    "dataset.root must contain AllDICOMs/, AllXML/ and INbreast.csv: request the release from the INbreast authors, "
    "or download the Kaggle copy ramanathansp20/inbreast-dataset and unpack it with `unzip`"
)


@dataclass
class InbreastFiles:
    """Files of the dataset.

    Attributes:
        dicoms: Images.
        outlines: XML files with outlines.
        tables: CSV files and spreadsheets.
    """

    dicoms: list[Path] = field(default_factory=list)
    outlines: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)


def read(
    root: Path, rejected: RejectedCases, *, lesions: Sequence[str] = ("mass",), negatives: bool = False
) -> list[Mammogram]:
    """Read the images with at least one lesion of the selected types, sorted by case.

    Args:
        root: Folder of the dataset.
        rejected: Receives the cases that cannot be used.
        lesions: Types of lesions, from `osirix.LESIONS`; `Mammogram.masses` counts the outlines of all of them.
        negatives: Whether to read the other images as well: those without an XML file, or with one that has no outline
            of these lesions.

    Returns:
        The accepted images. Outlines are as annotated, even outside the image (case 22670094); the density is None if
        the ACR cell is blank.

    Raises:
        UserError: If `root` does not contain INbreast, or for an unknown type of lesion.
    """
    root, names = Path(root), lesion_names(lesions)
    files = find_files(root)
    rows = read_table(files.tables)
    dicoms = index_by_case(files.dicoms, root, rejected)
    xml_files = index_by_case(files.outlines, root, rejected)
    mammograms = []
    for case in sorted({*xml_files, *dicoms}) if negatives else xml_files:
        file = xml_files.get(case)
        try:
            outlines = [] if file is None else read_outlines(file, names, rejected.ignored)
            if outlines or (negatives and case in dicoms):
                mammograms.append(make_mammogram(case, outlines, dicoms, rows))
        except ValueError as error:
            rejected.add((file or dicoms[case]).relative_to(root).as_posix(), error)
    warn_about_unknown_patients(mammograms)
    return mammograms


def warn_about_unknown_patients(mammograms: Sequence[Mammogram]) -> None:
    """Log a warning if there are images without a patient in their file name."""
    if n_anonymous := sum(mammogram.patient == mammogram.case for mammogram in mammograms):
        log.warning(
            "%d images have no patient in their file name; each is treated as a separate patient, so views of one "
            "patient may be in different parts of a split; the original names are "
            "<File Name>_<patient>_MG_<L|R>_<view>_ANON.dcm",
            n_anonymous,
        )


def lesion_names(lesions: Sequence[str]) -> set[str]:
    """Return the canonical names of the selected types of lesions.

    Raises:
        UserError: If there are none, or one is not in `osirix.LESIONS`.
    """
    names = {canonical_lesion_name(name) for name in ([lesions] if isinstance(lesions, str) else lesions)}
    if not names or not names <= set(LESIONS):
        raise UserError(f"dataset.reader.lesions must be one or more of {', '.join(LESIONS)}, got {list(lesions)}")
    return names


def find_files(root: Path) -> InbreastFiles:
    """Find the files of the dataset.

    Raises:
        UserError: If `root` is not a folder, or a part of the dataset is missing.
    """
    require_folder(root, DOWNLOAD_HINT)
    files = InbreastFiles()
    # The XML files of the pectoral muscle may have the same names as those of the lesions.
    for folder, names in walk(
        root,
        max_depth=MAX_FOLDER_DEPTH,
        skip_folder=lambda folder, _: folder != root and "pectoral" in folder.name.lower(),
    ):
        for file in (folder / name for name in names):
            suffix = file.suffix.lower()
            if suffix in (".dcm", ".dicom"):
                files.dicoms.append(file)
            elif suffix == ".xml" and CASE.fullmatch(file.stem):
                files.outlines.append(file)
            elif suffix in (".csv", ".xls", ".xlsx") and file.stem.lower() == "inbreast":
                files.tables.append(file)
    n_named = sum(DICOM_NAME.match(file.name) is not None for file in files.dicoms)
    if not n_named:
        raise UserError(f"{root}: no INbreast DICOM such as 22678622_<patient>_MG_L_CC_ANON.dcm found; {DOWNLOAD_HINT}")
    if not files.outlines:
        raise UserError(
            f"{root}: {n_named} DICOM files but no outlines (AllXML/*.xml); copies such as Kaggle's martholi/inbreast "
            f"lack them; {DOWNLOAD_HINT}"
        )
    if not files.tables:
        raise UserError(f"{root}: no INbreast.csv or INbreast.xls with the ACR densities; {DOWNLOAD_HINT}")
    return files


def index_by_case(files: Sequence[Path], root: Path, rejected: RejectedCases) -> dict[str, Path]:
    """Index files by the case in their name.

    Args:
        files: DICOM or XML files.
        root: Folder of the dataset, to which file names in messages are relative.
        rejected: Receives files without a case in their name, and second files of a case.

    Returns:
        The file of each case, sorted by case.
    """
    cases: dict[str, Path] = {}
    # Copies have longer names: `… (1).dcm`, `… - Copy.dcm`.
    for file in sorted(files, key=lambda file: (len(file.name), file)):
        relative = file.relative_to(root).as_posix()
        name = DICOM_NAME.match(file.name)
        if name is None:
            rejected.add(relative, "the name does not begin with INbreast's 8 digits; rename the file or remove it")
        elif name["case"] in cases:
            first = cases[name["case"]].relative_to(root).as_posix()
            rejected.add(relative, f"second file of case {name['case']}, the first is {first}; remove one")
        else:
            cases[name["case"]] = file
    return dict(sorted(cases.items()))


def make_mammogram(
    case: str, outlines: Sequence[NDArray[Any]], dicoms: dict[str, Path], rows: dict[str, InbreastRow | None]
) -> Mammogram:
    """Create the `Mammogram` of one image.

    Args:
        case: File Name in the table, 8 digits.
        outlines: Outlines of the lesions in the image; may be empty.
        dicoms: DICOM file of each case.
        rows: Row of each case in the table.

    Raises:
        ValueError: If the case has no DICOM file, no row in the table or an invalid density; the message is the reason.
    """
    if case not in dicoms:
        raise ValueError(f"the DICOM file {case}_*.dcm is missing; copy it from the release, or remove the XML file")
    if case not in rows:
        raise ValueError(f"INbreast.csv has no row with File Name {case}; use the table from the release")
    row = rows[case]
    if row is None:
        raise ValueError(f"INbreast.csv has contradictory rows for {case}; remove the wrong ones")
    try:
        density = ACRDensity.parse(row.acr)
    except ValueError:
        raise ValueError(f"ACR in INbreast.csv must be 1 to 4 or blank, got {row.acr!r}") from None
    name = DICOM_NAME.match(dicoms[case].name)
    assert name is not None, "index_by_case rejects other names"
    view = (name["view"] or row.view).upper()
    return Mammogram(
        case=case,
        image_file=dicoms[case],
        # Follow-up studies have the same identifier. The Patient ID in the table is `removed` in every row.
        patient=(name["patient"] or case).lower(),
        density=density,
        side=(name["side"] or row.side).upper()[:1],
        view=VIEW_ALIASES.get(view, view),
        outlines=tuple(outlines),
        masses=len(outlines),
    )
