"""Damaged cases are told together, by file, and nothing is left half-written; on_error=skip goes on without them."""

from __future__ import annotations

import csv
import plistlib
import subprocess
import sys
from pathlib import Path

import pytest

from mammoseg.phantom.write import write_inbreast

SKIPPED = ("truncated", "broken", "short", "outside", "blank")


def prepare(root: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "mammoseg.prepare",
            "dataset=inbreast",
            f"dataset.root={root}",
            "dataset.size=64",
            *arguments,
        ],
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


def with_outline(file: Path, points: list[str]) -> None:
    content = plistlib.loads(file.read_bytes())
    content["Images"][0]["ROIs"][0]["Point_px"] = points
    file.write_bytes(plistlib.dumps(content))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A phantom INbreast of ten mass images, five of them damaged, each in another way: kind -> case."""
    root = tmp_path_factory.mktemp("damaged") / "INbreast"
    write_inbreast(root, cases=10, seed=3, height=208)
    outlines = sorted((root / "AllXML").glob("*.xml"))
    case = dict(zip(SKIPPED, (file.stem for file in outlines), strict=False))
    (image,) = (root / "AllDICOMs").glob(f"{case['truncated']}_*.dcm")
    image.write_bytes(image.read_bytes()[:20_000])
    (root / "AllXML" / f"{case['broken']}.xml").write_text("<plist><dict><key>Images</key>")
    with_outline(root / "AllXML" / f"{case['short']}.xml", ["(10, 10)", "(20, 20)"])
    with_outline(root / "AllXML" / f"{case['outside']}.xml", ["(9000, 10)", "(9010, 10)", "(9010, 20)"])
    table = (root / "INbreast.csv").read_text().splitlines()
    rows = [row.split(";") for row in table]
    for row in rows:
        if row[5] == case["blank"]:
            row[6] = " " * 193
    (root / "INbreast.csv").write_text("\r\n".join(";".join(row) for row in rows) + "\r\n")
    return root, case


def test_every_damaged_case_is_named_at_once(damaged: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    root, case = damaged
    done = prepare(root, tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "5 cases" in done.stderr
    assert "dataset.on_error=skip" in done.stderr
    for kind, number in case.items():
        assert number in done.stderr, kind
    assert "2 points" in done.stderr
    assert "outside the image" in done.stderr
    assert "dataset.missing_density=drop" in done.stderr
    left = [path.name for path in (tmp_path / "data" / "prepared").iterdir()]
    assert all(name.startswith(".preparing-") for name in left), "finished images are kept, half a store is not"


def test_skipping_keeps_the_rest(damaged: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    root, case = damaged
    done = prepare(root, tmp_path, "dataset.on_error=skip")
    assert done.returncode == 0, done.stderr
    assert "5 images" in done.stdout
    assert "5 skipped" in done.stdout
    (table,) = tmp_path.rglob("cases.csv")
    with table.open() as lines:
        kept = {row["case"] for row in csv.DictReader(lines)}
    assert len(kept) == 5
    assert not kept & set(case.values())


def test_a_missing_density_can_be_assumed(damaged: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    root, case = damaged
    done = prepare(root, tmp_path, "dataset.on_error=skip", "dataset.missing_density=2")
    assert done.returncode == 0, done.stderr
    (table,) = tmp_path.rglob("cases.csv")
    with table.open() as lines:
        density = {row["case"]: row["density"] for row in csv.DictReader(lines)}
    assert density[case["blank"]] == "2"
