"""Damaged cases are reported together, by file, and no incomplete store is left; on_error=skip skips them."""

from __future__ import annotations

import csv
import plistlib
import subprocess
from pathlib import Path

import pytest

from helpers.commands import run
from mammoseg.phantom.write import write_inbreast

SKIPPED = ("truncated", "broken", "short", "outside", "blank")


def prepare(root: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("prepare", "dataset=inbreast", f"dataset.root={root}", "dataset.size=64", *arguments, folder=folder)


def replace_outline(file: Path, points: list[str]) -> None:
    content = plistlib.loads(file.read_bytes())
    content["Images"][0]["ROIs"][0]["Point_px"] = points
    file.write_bytes(plistlib.dumps(content))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A phantom INbreast of ten images with a mass, five of them damaged; and the case of each damage."""
    root = tmp_path_factory.mktemp("damaged") / "INbreast"
    write_inbreast(root, cases=10, seed=3, height=208)
    outlines = sorted((root / "AllXML").glob("*.xml"))
    case_of = dict(zip(SKIPPED, (file.stem for file in outlines), strict=False))
    (image,) = (root / "AllDICOMs").glob(f"{case_of['truncated']}_*.dcm")
    image.write_bytes(image.read_bytes()[:20_000])
    (root / "AllXML" / f"{case_of['broken']}.xml").write_text("<plist><dict><key>Images</key>")
    replace_outline(root / "AllXML" / f"{case_of['short']}.xml", ["(10, 10)", "(20, 20)"])
    replace_outline(root / "AllXML" / f"{case_of['outside']}.xml", ["(9000, 10)", "(9010, 10)", "(9010, 20)"])
    table = (root / "INbreast.csv").read_text().splitlines()
    rows = [row.split(";") for row in table]
    for row in rows:
        if row[5] == case_of["blank"]:
            row[6] = " " * 193
    (root / "INbreast.csv").write_text("\r\n".join(";".join(row) for row in rows) + "\r\n")
    return root, case_of


def test_all_damaged_cases_are_reported_together(damaged: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    root, case_of = damaged
    completed = prepare(root, tmp_path)
    assert completed.returncode == 2
    assert "cannot be used: 5;" in completed.stderr
    assert "dataset.on_error=skip" in completed.stderr
    for damage, case in case_of.items():
        assert case in completed.stderr, damage
    assert "2 points" in completed.stderr
    assert "outside the image" in completed.stderr
    assert "dataset.missing_density=drop" in completed.stderr
    remaining = [path.name for path in (tmp_path / "data" / "prepared").iterdir()]
    assert all(name.startswith((".preparing-", ".lock-", ".hashes-")) for name in remaining), "only the caches"


def test_skipping_keeps_the_other_cases(damaged: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    root, case_of = damaged
    completed = prepare(root, tmp_path, "dataset.on_error=skip")
    assert completed.returncode == 0, completed.stderr
    assert "5 images" in completed.stdout
    assert "5 skipped" in completed.stdout
    (table,) = tmp_path.rglob("cases.csv")
    with table.open() as lines:
        prepared = {row["case"] for row in csv.DictReader(lines)}
    assert len(prepared) == 5
    assert not prepared & set(case_of.values())


def test_a_missing_density_can_be_assumed(damaged: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    root, case_of = damaged
    completed = prepare(root, tmp_path, "dataset.on_error=skip", "dataset.missing_density=2")
    assert completed.returncode == 0, completed.stderr
    (table,) = tmp_path.rglob("cases.csv")
    with table.open() as lines:
        density = {row["case"]: row["density"] for row in csv.DictReader(lines)}
    assert density[case_of["blank"]] == "2"
