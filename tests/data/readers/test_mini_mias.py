"""Reader of mini-MIAS: circles, classes of tissue, pairs of films, and the irregular lines of Info.txt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.mini_mias_files import LINES, SIDE, write_mini_mias
from mammoseg.data.images.read import read_image
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.data.readers.mass_location import MassCircle
from mammoseg.data.readers.mini_mias import read
from mammoseg.errors import UserError

SETTINGS: dict[str, Any] = {
    "lesions": ["circ", "spic", "misc"],
    "tissue_density": {"fatty": 1, "glandular": 2, "dense": 3},
}


def films(root: Path, **settings: Any) -> tuple[dict[str, Mammogram], RejectedCases]:
    mammograms = read(root, rejected := RejectedCases(), **{**SETTINGS, **settings})
    return {mammogram.case: mammogram for mammogram in mammograms}, rejected


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mini_mias(tmp_path_factory.mktemp("mias") / "mini-MIAS")


def test_films_with_a_located_mass_are_read(root: Path) -> None:
    images, rejected = films(root)
    assert not rejected.rows
    assert list(images) == ["mdb001", "mdb002", "mdb005", "mdb009"]
    assert [(m.side, m.patient, m.density, m.masses, m.view, m.split) for m in images.values()] == [
        ("R", "pair001", 2, 1, "MLO", ""),
        ("L", "pair001", 2, 1, "MLO", ""),
        ("R", "pair003", 1, 2, "MLO", ""),
        ("R", "pair005", 1, 1, "MLO", ""),
    ]
    assert images["mdb009"].locations == (MassCircle(300, SIDE - 1 - 500, 40),)
    assert rejected.ignored == {"films with a mass without coordinates, which are not used": 1}
    assert rejected.found == {"films listed": 10, "normal films listed": 3}


def test_copies_of_a_film_are_counted_and_a_second_table_is_an_error(tmp_path: Path) -> None:
    root = write_mini_mias(tmp_path / "mini-MIAS")
    (copies := root / "zz").mkdir()
    (copies / "MDB001.PGM").write_bytes((root / "all-mias" / "mdb001.pgm").read_bytes())
    images, rejected = films(root)
    assert images["mdb001"].image_file == root / "all-mias" / "mdb001.pgm"
    assert rejected.ignored["files with the name of another one, of which the first is used"] == 1
    (copies / "Info.txt").write_bytes((root / "Info.txt").read_bytes())
    with pytest.raises(UserError, match=r"one Info\.txt, got Info\.txt and zz/Info\.txt; keep"):
        films(root)


def test_y_is_measured_from_the_lower_edge(root: Path) -> None:
    """The film is white at the position in Info.txt, counted from the lower edge."""
    images, _ = films(root)
    (first, second) = images["mdb005"].locations
    pixels, _ = read_image(images["mdb005"].image_file)
    assert isinstance(first, MassCircle)
    assert isinstance(second, MassCircle)
    assert (first.x, first.y, first.radius) == (477, 890, 30)
    assert pixels[int(first.y), int(first.x)] == pixels[int(second.y), int(second.x)] == 255
    assert pixels[133, 477] < 255


def test_other_films_are_images_without_a_mass(root: Path) -> None:
    images, rejected = films(root, negatives=True)
    assert not rejected.rows
    assert {name for name, m in images.items() if m.masses == 0} == {"mdb003", "mdb004", "mdb006", "mdb008", "mdb010"}
    assert all(not m.locations for m in images.values() if m.masses == 0)
    assert "mdb007" not in images  # its mass has no coordinates


def test_settings_select_abnormalities_and_categories(root: Path) -> None:
    images, rejected = films(
        root, lesions=["calc", "arch"], tissue_density={"fatty": 2, "glandular": 3, "dense": 4}, negatives=True
    )
    assert {name for name, m in images.items() if m.locations} == {"mdb009", "mdb010"}
    assert (images["mdb009"].density, images["mdb002"].density, images["mdb010"].density) == (2, 3, 4)
    assert "mdb008" not in images
    assert sum(rejected.ignored.values()) == 1
    with pytest.raises(UserError, match=r"dataset\.reader\.lesions must be one or more of circ, .*, got \['mass'\]"):
        films(root, lesions=["mass"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mdb001 X CIRC B 535 425 197", "tissue must be F, G or D, got X"),
        ("mdb001", "tissue must be F, G or D, got nothing"),
        (
            "mdb001 G MASS B 535 425 197",
            "abnormality must be one of CIRC, SPIC, MISC, CALC, ARCH, ASYM, NORM, got MASS",
        ),
        ("mdb001 G CIRC B 535 425", "x, y and radius must be three numbers, the radius above 0, got 535 425"),
        ("mdb001 G CIRC B 535 425 0", "got 535 425 0"),
        ("mdb001 G CIRC B 535 425 nan", "got 535 425 nan"),
        ("mdb001 G NORM B 535 425 197", "a line with NORM must have no coordinates, got 535 425 197"),
    ],
)
def test_an_invalid_line_is_rejected(tmp_path: Path, line: str, message: str) -> None:
    root = write_mini_mias(tmp_path / "mias", [LINES[1], line])
    images, rejected = films(root, negatives=True)
    assert list(images) == ["mdb002"]
    ((label, reason),) = rejected.rows
    assert label == "Info.txt line 10"
    assert message in reason


def test_missing_resized_and_unlisted_films_are_rejected(tmp_path: Path) -> None:
    root = write_mini_mias(tmp_path / "mias", [*LINES[:3], LINES[9], "mdb009 D CALC M 400 600 20", "mdb011 G NORM"])
    folder = root / "all-mias"
    (folder / "mdb001.pgm").unlink()
    (folder / "mdb002.pgm").write_bytes(b"P5\n512 512\n255\n" + bytes(512 * 512))
    (folder / "mdb011.pgm").rename(folder / "mdb012.pgm")
    images, rejected = films(root, negatives=True)
    assert list(images) == ["mdb003"]
    assert dict(rejected.rows) == {
        "mdb012.pgm": "no line in Info.txt; use the table of the release",
        "mdb001.pgm": "the film is missing; download it again",
        "mdb002.pgm": "a film must have 1024x1024 pixels, got 512x512; use the original film",
        "mdb009.pgm": "the lines of a film must have the same tissue, got D and F",
        "mdb011.pgm": "the film is missing; download it again",
    }


def test_a_folder_without_the_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        films(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no Info\.txt found"):
        films(tmp_path)
    (tmp_path / "Info.txt").write_text("reference tissue\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"no film such as mdb001\.pgm found"):
        films(tmp_path)
    (tmp_path / "mdb001.pgm").write_bytes(b"")
    with pytest.raises(UserError, match=r"Info\.txt: no line such as `mdb001 G CIRC B 535 425 197` found"):
        films(tmp_path)
    (tmp_path / "Info.txt").write_text(LINES[0], encoding="utf-8")
    assert (
        films(tmp_path)[1].rows[0][1].startswith("a film must have 1024x1024 pixels, got a file without a PGM header")
    )


def test_settings_have_defaults(root: Path) -> None:
    mammograms = read(root, RejectedCases())
    assert [(m.case, m.density) for m in mammograms] == [(m.case, m.density) for m in films(root)[0].values()]


def test_a_repeated_circle_is_counted_once(tmp_path: Path) -> None:
    root = write_mini_mias(tmp_path / "mias", [LINES[0], LINES[0]])
    images, rejected = films(root)
    assert (len(images["mdb001"].locations), images["mdb001"].masses) == (1, 1)
    assert rejected.ignored == {"repeated boxes or circles of the same image, which are not used": 1}


def test_a_normal_film_with_another_abnormality_is_rejected(tmp_path: Path) -> None:
    root = write_mini_mias(tmp_path / "mias", ["mdb001 G NORM", LINES[0]])
    images, rejected = films(root, negatives=True)
    assert not images
    assert rejected.rows == [("mdb001.pgm", "a film with the abnormality NORM must have no other one; fix the table")]
