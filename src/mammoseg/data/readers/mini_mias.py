"""Reader of mini-MIAS: circles that enclose masses on films of 1024 x 1024 pixels, and three classes of tissue.

Layout: `mdb001.pgm` to `mdb322.pgm` and the table `Info.txt`, up to three folders deep. A line of the table has the
reference number, the tissue (F, G or D), the abnormality, and if there is one, its severity, x, y and radius in pixels;
y is measured from the lower edge. Other lines are notes. Films 2k - 1 and 2k are the right and left breast of a woman;
all are mediolateral oblique views. Pixels are not decoded.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mammoseg.data.images.pgm import pgm_size
from mammoseg.data.readers.csv_table import decode_lines
from mammoseg.data.readers.file_tree import add_first, require_folder, require_single, walk
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.data.readers.mass_location import MassCircle, remove_repeated
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

SIDE = 1024  # height and width of the films in pixels, to which the coordinates refer
MAX_FOLDER_DEPTH = 3
FILM = re.compile(r"mdb(\d{3})", re.IGNORECASE)
LESIONS = ("circ", "spic", "misc", "calc", "arch", "asym")
MASSES = ("circ", "spic", "misc")  # circumscribed, spiculated and ill-defined masses
NORMAL = "norm"
TISSUES = {"F": "fatty", "G": "glandular", "D": "dense"}
TISSUE_DENSITY: Mapping[str, int] = MappingProxyType({"fatty": 1, "glandular": 2, "dense": 3})
HEADER_SIZE = 1024  # bytes that contain the header of a PGM file
HINT = (
    "dataset.root must contain mdb001.pgm to mdb322.pgm and Info.txt of mini-MIAS, which the Kaggle copy "
    "kmader/mias-mammography contains as all-mias.tar.gz and Info.txt"
)


@dataclass(frozen=True)
class Abnormality:
    """One line of the table.

    Attributes:
        tissue: F, G or D.
        name: One of `LESIONS` or `NORMAL`.
        circle: None without coordinates.
    """

    tissue: str
    name: str
    circle: MassCircle | None


def read(
    root: Path,
    rejected: RejectedCases,
    *,
    lesions: Sequence[str] = MASSES,
    tissue_density: Mapping[str, int] = TISSUE_DENSITY,
    negatives: bool = False,
) -> list[Mammogram]:
    """Read the films with at least one abnormality of the selected types, sorted by reference number.

    Args:
        root: Folder of the dataset.
        rejected: Receives the films that cannot be used; those on which a mass has no coordinates are only counted.
        lesions: Types of abnormalities that count as mass, from `LESIONS`.
        tissue_density: ACR category of each of the three classes of tissue: fatty, glandular and dense.
        negatives: Whether to read the other films as well: normal ones, and those with other abnormalities.

    Returns:
        The accepted films.

    Raises:
        UserError: If `root` does not contain mini-MIAS, or for an unknown type of abnormality.
    """
    selected = check_lesions(lesions)
    table, files = find_files(Path(root), rejected.ignored)
    films = read_table(table, files, rejected)
    mammograms = []
    for film in sorted(films):
        marked = [abnormality for abnormality in films[film] if abnormality.name in selected]
        if not marked and not negatives:
            continue
        if any(abnormality.circle is None for abnormality in marked):
            rejected.ignored["films with a mass without coordinates, which are not used"] += 1
            continue
        masses = remove_repeated([row.circle for row in marked if row.circle is not None], rejected.ignored)
        try:
            mammograms.append(make_mammogram(film, films[film], masses, files, tissue_density))
        except ValueError as error:
            rejected.add(f"{film}.pgm", error)
    return mammograms


def count_films(films: Mapping[str, Sequence[Abnormality]]) -> dict[str, int]:
    """Count the films in the table, for comparison with the published numbers."""
    n_normal = sum(all(abnormality.name == NORMAL for abnormality in rows) for rows in films.values())
    return {"films listed": len(films), "normal films listed": n_normal}


def check_lesions(lesions: Sequence[str]) -> set[str]:
    """Return the selected types of abnormalities in lower case.

    Raises:
        UserError: If there are none, or one is not in `LESIONS`.
    """
    masses = {str(lesion).lower() for lesion in lesions}
    if not masses or not masses <= set(LESIONS):
        raise UserError(f"dataset.reader.lesions must be one or more of {', '.join(LESIONS)}, got {list(lesions)}")
    return masses


def find_files(root: Path, ignored: Counter[str]) -> tuple[Path, dict[str, Path]]:
    """Find the table and the films.

    Args:
        root: Folder of the dataset.
        ignored: Counts films with the name of another one.

    Returns:
        Info.txt, and the films by name without suffix, such as mdb001.

    Raises:
        UserError: If `root` is not a folder, the table or all films are missing, or there are several tables.
    """
    require_folder(root, HINT)
    paths = [folder / name for folder, names in walk(root, max_depth=MAX_FOLDER_DEPTH) for name in names]
    tables = [path for path in paths if path.name.lower() == "info.txt"]
    films: dict[str, Path] = {}
    for path in paths:
        if path.suffix.lower() == ".pgm" and FILM.fullmatch(path.stem):
            add_first(films, path.stem.lower(), path, ignored)
    if not tables:
        raise UserError(f"{root}: no Info.txt found; {HINT}")
    if not films:
        raise UserError(f"{root}: no film such as mdb001.pgm found; {HINT}")
    require_single(root, "Info.txt", tables)
    return tables[0], films


def read_table(table: Path, files: Mapping[str, Path], rejected: RejectedCases) -> dict[str, list[Abnormality]]:
    """Read Info.txt.

    Args:
        table: The file.
        files: Files of the films.
        rejected: Receives invalid lines, whose film is not used, films without a line, and the numbers of films.

    Returns:
        Abnormalities by film.

    Raises:
        UserError: If the file cannot be read or has no line of a film.
    """
    films: dict[str, list[Abnormality]] = defaultdict(list)
    invalid = set()
    for line, text in enumerate(decode_lines(table), start=1):
        film, *words = text.split() or [""]
        if not FILM.fullmatch(film):
            continue
        try:
            films[film.lower()].append(parse_abnormality(words))
        except ValueError as error:
            rejected.add(f"{table.name} line {line}", error)
            invalid.add(film.lower())
    if not films and not invalid:
        raise UserError(f"{table}: no line such as `mdb001 G CIRC B 535 425 197` found; {HINT}")
    for film in sorted(files.keys() - films.keys() - invalid):
        rejected.add(f"{film}.pgm", f"no line in {table.name}; use the table of the release")
    valid = {film: rows for film, rows in films.items() if film not in invalid}
    rejected.found |= count_films(valid)
    return valid


def parse_abnormality(words: Sequence[str]) -> Abnormality:
    """Parse a line of the table, without the reference number.

    Raises:
        ValueError: If it is invalid; the message is the reason.

    Example:
        >>> parse_abnormality(["G", "CIRC", "B", "535", "425", "197"]).circle
        MassCircle(x=535.0, y=598.0, radius=197.0)
        >>> parse_abnormality(["G", "CALC", "M", "*NOTE", "3*"]).circle is None
        True
    """
    tissue, name, *rest = *words, "", ""
    if tissue not in TISSUES:
        raise ValueError(f"tissue must be F, G or D, got {tissue or 'nothing'}")
    if name.lower() not in (*LESIONS, NORMAL):
        raise ValueError(f"abnormality must be one of {', '.join((*LESIONS, NORMAL)).upper()}, got {name or 'nothing'}")
    coordinates = [word for word in rest[1:] if word]
    if not coordinates or coordinates[0].startswith("*"):
        return Abnormality(tissue, name.lower(), None)
    try:
        x, y, radius = map(float, coordinates)
    except ValueError:
        radius = math.nan
    if not (radius > 0 and math.isfinite(x + y + radius)):
        raise ValueError(f"x, y and radius must be three numbers, the radius above 0, got {' '.join(coordinates)}")
    if name.lower() == NORMAL:
        raise ValueError(f"a line with NORM must have no coordinates, got {' '.join(coordinates)}")
    return Abnormality(tissue, name.lower(), MassCircle(x, SIDE - 1 - y, radius))


def make_mammogram(
    film: str,
    rows: Sequence[Abnormality],
    masses: tuple[MassCircle, ...],
    files: Mapping[str, Path],
    tissue_density: Mapping[str, int],
) -> Mammogram:
    """Create the `Mammogram` of a film.

    Args:
        film: Reference number, such as mdb001.
        rows: Its lines in the table.
        masses: Circles of the masses.
        files: Files of the films.
        tissue_density: See `read`.

    Raises:
        ValueError: If the file is missing or has another size, or its lines contradict each other; the message is the
            reason.
    """
    if film not in files:
        raise ValueError("the film is missing; download it again")
    if len(tissues := {row.tissue for row in rows}) > 1:
        raise ValueError(f"the lines of a film must have the same tissue, got {' and '.join(sorted(tissues))}")
    if NORMAL in (names := {row.name for row in rows}) and len(names) > 1:
        raise ValueError("a film with the abnormality NORM must have no other one; fix the table")
    if masses:
        check_film_size(files[film])
    number = int(film[3:])
    return Mammogram(
        case=film,
        image_file=files[film],
        patient=f"pair{(number + 1) // 2:03d}",
        density=ACRDensity(tissue_density[TISSUES[rows[0].tissue]]),
        side="R" if number % 2 else "L",
        view="MLO",
        locations=masses,
        masses=len(masses),
    )


def check_film_size(file: Path) -> None:
    """Check the size in the header of a film, to which the coordinates of the masses refer.

    Raises:
        ValueError: If the file cannot be read or has another size; the message is the reason.
    """
    try:
        with file.open("rb") as content:
            size = pgm_size(content.read(HEADER_SIZE))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if size != (SIDE, SIDE):
        got = "a file without a PGM header" if size is None else f"{size[1]}x{size[0]}"
        raise ValueError(f"a film must have {SIDE}x{SIDE} pixels, got {got}; use the original film")
