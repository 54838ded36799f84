"""Writes phantoms in the layout of a real dataset, so that the real reader reads them."""

from __future__ import annotations

import csv
import os
import plistlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from mammoseg import processes, validate
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError
from mammoseg.files import atomic_dir, atomic_write, atomic_write_bytes
from mammoseg.phantom.anatomy import HEIGHT_MM, Phantom, draw
from mammoseg.phantom.dicom import DIGITAL_MAMMOGRAPHY, write_grey
from mammoseg.terminal import Progress

# Shares of patients by ACR category. Nearer to even than INbreast's 39:34:20:7 %, so that small sets have all four.
DENSITY_SHARES = (0.30, 0.30, 0.25, 0.15)
NORMAL_SHARE = 0.1  # images without a mass beside those with one, which a reader has to leave out
TWO_MASSES = 0.08  # of the images, as in INbreast: 116 masses in 107 images
ASPECT = 2560 / 3328
Task = TypeVar("Task")
Done = TypeVar("Done")
COLUMNS = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"


@dataclass(frozen=True)
class Plan:
    """One image to be drawn."""

    number: str  # INbreast's file name: 8 digits
    patient: str  # 16 hexadecimal digits
    side: str
    view: str
    density: int
    masses: int
    seed: tuple[int, int]


def write_inbreast(root: Path, *, cases: int = 40, seed: int = 0, height: int = 832) -> list[Plan]:
    """`cases` images with a mass, and a tenth as many normal ones, as an INbreast release below `root`.

    `height` in pixels; the pixel size follows, so that the breast keeps its millimetres (3328 is the real one).
    The folder appears whole or not at all, and the same arguments give the same bytes.
    Raises UserError if `root` holds something already, or for fewer than 8 cases or 128 pixels.
    """
    check(root, cases, height)
    plans = plan(cases, seed)
    with atomic_dir(root) as scratch:
        for folder in ("AllDICOMs", "AllXML"):
            (scratch / folder).mkdir()
        for _ in every(partial(write_one, scratch, height), plans):
            pass
        write_table(scratch / "INbreast.csv", plans)
    return plans


def check(root: Path, cases: int, height: int) -> None:
    validate.positive_int("cases", cases, minimum=8)  # each density, and a split
    validate.positive_int("height", height, minimum=128)  # smaller mammograms show nothing
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root}: something is there already; choose another root or remove it first")


def plan(cases: int, seed: int) -> list[Plan]:
    """Patients of one to four images each; a patient's breasts are of one density."""
    rng = np.random.default_rng(seed)
    views = [(side, view) for side in "LR" for view in ("CC", "MLO")]
    patients: list[list[tuple[str, str]]] = []
    normals = max(round(NORMAL_SHARE * cases), 1)
    while (left := cases + normals - sum(map(len, patients))) > 0:
        count = min(int(rng.integers(1, 5)), left)
        patients.append([views[chosen] for chosen in sorted(rng.permutation(4)[:count])])
    density = densities(rng, len(patients))
    images = [(who, *view) for who, chosen in enumerate(patients) for view in chosen]
    normal = set(rng.permutation(len(images))[:normals].tolist())
    numbers = rng.choice(np.arange(20_000_000, 54_000_000, 7), len(images), replace=False)
    hashes = [rng.bytes(8).hex() for _ in patients]
    return [
        Plan(
            number=str(numbers[place]),
            patient=hashes[who],
            side=side,
            view=view,
            density=density[who],
            masses=0 if place in normal else 1 + int(rng.random() < TWO_MASSES),
            seed=(seed, place),
        )
        for place, (who, side, view) in enumerate(images)
    ]


def densities(rng: np.random.Generator, patients: int) -> list[int]:
    """Shuffled categories in the shares above, each at least once where there are four patients."""
    at_least = list(ACRDensity)[:patients]
    rest = rng.choice(list(ACRDensity), patients - len(at_least), p=DENSITY_SHARES).tolist()
    return [int(category) for category in rng.permutation(at_least + rest)]


def every(one: Callable[[Task], Done], plans: Sequence[Task]) -> Iterator[Done]:
    """`one` of each plan, in order, over processes."""
    workers = min(os.cpu_count() or 1, max(len(plans) // 12, 1))
    with Progress("drawing mammograms", len(plans)) as progress:
        if workers == 1:
            for plan in plans:
                yield one(plan)
                progress.advance()
            return
        with processes.spawn_pool(workers) as pool:
            for done in pool.map(one, plans, chunksize=2):
                yield done
                progress.advance()


def write_one(folder: Path, height: int, image: Plan) -> None:
    cv2.setNumThreads(1)
    rng = np.random.default_rng(image.seed)
    phantom = draw(
        rng,
        density=image.density,
        view=image.view,
        side=image.side,
        height=height,
        width=round(height * ASPECT),
        masses=image.masses,
    )
    spacing = HEIGHT_MM / height
    view = {"MLO": "ML"}.get(image.view, image.view)  # as the release's file names abbreviate it
    name = f"{image.number}_{image.patient}_MG_{image.side}_{view}_ANON.dcm"
    write_dicom(folder / "AllDICOMs" / name, phantom.pixels, image, spacing)
    if image.masses:
        regions = [region("Mass", outline, phantom, spacing) for outline in phantom.outlines]
        if rng.random() < 0.3:  # what else OsiriX marks, and a reader of masses must pass over
            centre = phantom.outlines[0].mean(axis=0, keepdims=True)
            regions.append(region("Calcification", centre + rng.uniform(-9, 9, (1, 2)), phantom, spacing))
        content = {"Images": [{"ImageIndex": 0, "NumberOfROIs": len(regions), "ROIs": regions}]}
        atomic_write_bytes(folder / "AllXML" / f"{image.number}.xml", plistlib.dumps(content))


def write_dicom(path: Path, pixels: NDArray[np.uint16], image: Plan, spacing: float) -> None:
    write_grey(
        path,
        pixels,
        bits=12,
        uids=("image", image.patient, image.number),
        SOPClassUID=DIGITAL_MAMMOGRAPHY,
        PresentationIntentType="FOR PRESENTATION",
        ImageType=["DERIVED", "PRIMARY"],
        ImageLaterality=image.side,
        ViewPosition=image.view,
        PatientOrientation=["A" if image.side == "L" else "P", "L" if image.view == "CC" else "FL"],
        ImagerPixelSpacing=[f"{spacing:.6f}"] * 2,
        WindowCenter=2048,
        WindowWidth=4096,
    )


def region(name: str, outline: NDArray[np.float64], phantom: Phantom, spacing: float) -> dict[str, Any]:
    """One region of interest as OsiriX exports it; areas in cm2, points in pixels and mm."""
    layer = np.zeros(phantom.pixels.shape, np.uint8)
    cv2.fillPoly(layer, [np.rint(outline).astype(np.int32)], 1)
    inside = phantom.pixels[layer > 0].astype(float)
    centre = outline.mean(axis=0)
    return {
        "Area": float(layer.sum() * spacing**2 / 100),
        "Center": f"({centre[0]:f}, {centre[1]:f}, 0.000000)",
        "Dev": float(inside.std()),
        "IndexInImage": 0,
        "Max": float(inside.max()),
        "Mean": float(inside.mean()),
        "Min": float(inside.min()),
        "Name": name,
        "NumberOfPoints": len(outline),
        "Point_mm": [f"({x * spacing:f}, {y * spacing:f}, 0.000000)" for x, y in outline],
        "Point_px": [f"({x:f}, {y:f})" for x, y in outline],
        "Total": float(inside.sum()),
        "Type": 15 if len(outline) > 1 else 19,
    }


def write_table(path: Path, plans: list[Plan]) -> None:
    with atomic_write(path) as file:
        table = csv.writer(file, delimiter=";", lineterminator="\r\n")
        table.writerow(COLUMNS.split(";"))
        for image in sorted(plans, key=lambda image: image.number):
            assessment = ("4a", "4c", "5")[int(image.number) % 3] if image.masses else "1"
            date = f"20{8 + int(image.number) % 3:02d}{1 + int(image.number) % 12:02d}"
            table.writerow(
                ["removed", "removed", image.side, image.view, date, image.number, image.density, assessment]
            )
