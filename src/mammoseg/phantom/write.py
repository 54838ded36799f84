"""Synthetic mammograms in the layout of INbreast, readable by the INbreast reader."""

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
from mammoseg.errors import UserError
from mammoseg.files import atomic_dir, atomic_write, atomic_write_bytes
from mammoseg.phantom.anatomy import HEIGHT_MM, Phantom, draw_phantom
from mammoseg.phantom.appearance import get_appearance
from mammoseg.phantom.dicom import DIGITAL_MAMMOGRAPHY, write_greyscale_dicom
from mammoseg.phantom.patients import n_negatives, sample_densities, sample_patient_views
from mammoseg.terminal import Progress

NORMAL_RATIO = 0.1  # number of images without a mass, divided by that of images with one
TWO_MASSES_PROBABILITY = 0.08  # as in INbreast: 116 masses in 107 images
ASPECT = 2560 / 3328  # width / height
Task = TypeVar("Task")
Result = TypeVar("Result")
INBREAST_COLUMNS = "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads"


@dataclass(frozen=True)
class InbreastImageSpec:
    """Specification of one synthetic image.

    Attributes:
        case: File Name in INbreast.csv, 8 digits.
        patient: Identifier of the patient, 16 hexadecimal digits.
        side: Laterality, L or R.
        view: View position, CC or MLO.
        density: ACR category, 1 to 4.
        masses: Number of masses.
        seed: Seed of the image.
    """

    case: str
    patient: str
    side: str
    view: str
    density: int
    masses: int
    seed: tuple[int, int]


def write_inbreast(
    root: Path,
    *,
    cases: int = 40,
    seed: int = 0,
    height: int = 832,
    appearance: str = "realistic",
    negatives: float | None = None,
) -> list[InbreastImageSpec]:
    """Write a synthetic dataset in the layout of an INbreast release.

    The folder is created atomically, and the same arguments give the same bytes.

    Args:
        root: Folder to create.
        cases: Number of images with a mass, at least 8.
        seed: Seed of the dataset.
        height: Height of the images in pixels, at least 128 (INbreast: 3328); the pixel spacing is scaled accordingly.
        appearance: Density of the breast, and size and contrast of masses: "realistic" or "simple", for images that a
            small network learns within minutes.
        negatives: Fraction of the images that have no mass, in (0, 1); None for a tenth as many as images with a mass.

    Returns:
        The specifications of all images.

    Raises:
        UserError: If `root` is not empty, or another argument is invalid.

    Example:
        >>> specs = write_inbreast(Path("data/my-phantom"), cases=40)  # doctest: +SKIP
    """
    validate_arguments(root, cases, height, appearance, negatives)
    specs = sample_inbreast_specs(cases, seed, negatives)
    with atomic_dir(root) as tmp_dir:
        for folder in ("AllDICOMs", "AllXML"):
            (tmp_dir / folder).mkdir()
        for _ in map_in_processes(partial(write_inbreast_image, tmp_dir, height, appearance), specs):
            pass
        write_inbreast_table(tmp_dir / "INbreast.csv", specs)
    return specs


def validate_arguments(root: Path, cases: int, height: int, appearance: str, negatives: float | None) -> None:
    """Check the arguments of `write_inbreast` and `write_cbis_ddsm`.

    Raises:
        UserError: If `root` is not empty, or another argument is invalid.
    """
    validate.positive_int("cases", cases, minimum=8)  # required for four densities and a split
    validate.positive_int("height", height, minimum=128)  # no structure is visible in smaller images
    get_appearance(appearance)
    if negatives is not None:
        validate.probability("negatives", negatives)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(
            f"phantoms are written into an empty or new folder, got {root}; set root (of mammoseg.phantom) or "
            "dataset.root to another one, or remove it"
        )


def sample_inbreast_specs(cases: int, seed: int, negatives: float | None = None) -> list[InbreastImageSpec]:
    """Sample the specifications of all images: one to four images per patient, with one density per patient.

    Args:
        cases: Number of images with a mass.
        seed: Seed of the dataset.
        negatives: See `write_inbreast`.

    Returns:
        The specifications, including those of images without a mass.

    Example:
        >>> len(sample_inbreast_specs(cases=20, seed=0))
        22
    """
    rng = np.random.default_rng(seed)
    n_normal = max(round(NORMAL_RATIO * cases), 1) if negatives is None else n_negatives(cases, negatives)
    patients = sample_patient_views(rng, cases + n_normal, sides=("L", "R"))
    density = sample_densities(rng, len(patients))
    images = [(patient, *view) for patient, patient_views in enumerate(patients) for view in patient_views]
    normal = set(rng.permutation(len(images))[:n_normal].tolist())
    case_ids = rng.choice(np.arange(20_000_000, 54_000_000, 7), len(images), replace=False)
    patient_ids = [rng.bytes(8).hex() for _ in patients]
    return [
        InbreastImageSpec(
            case=str(case_ids[index]),
            patient=patient_ids[patient],
            side=side,
            view=view,
            density=density[patient],
            masses=0 if index in normal else 1 + int(rng.random() < TWO_MASSES_PROBABILITY),
            seed=(seed, index),
        )
        for index, (patient, side, view) in enumerate(images)
    ]


def map_in_processes(function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    """Apply `function` to each task in worker processes, with a progress bar.

    Args:
        function: Picklable function of one task.
        tasks: The tasks.

    Yields:
        The results, in the order of the tasks.
    """
    workers = min(os.cpu_count() or 1, max(len(tasks) // 12, 1))
    with Progress("drawing mammograms", len(tasks)) as progress:
        if workers == 1:
            for task in tasks:
                yield function(task)
                progress.advance()
            return
        with processes.spawn_pool(workers) as pool:
            for result in pool.map(function, tasks, chunksize=2):
                yield result
                progress.advance()


def write_inbreast_image(folder: Path, height: int, appearance: str, image: InbreastImageSpec) -> None:
    """Draw one image and write its DICOM file and, if it has masses, its XML file.

    Args:
        folder: Root of the release.
        height: Height of the image in pixels.
        appearance: Density of the breast, and size and contrast of masses.
        image: Specification of the image.
    """
    cv2.setNumThreads(1)
    rng = np.random.default_rng(image.seed)
    phantom = draw_phantom(
        rng,
        density=image.density,
        view=image.view,
        side=image.side,
        height=height,
        width=round(height * ASPECT),
        masses=image.masses,
        appearance=appearance,
    )
    spacing = HEIGHT_MM / height
    view = {"MLO": "ML"}.get(image.view, image.view)  # abbreviation in the file names of the release
    name = f"{image.case}_{image.patient}_MG_{image.side}_{view}_ANON.dcm"
    write_inbreast_dicom(folder / "AllDICOMs" / name, phantom.pixels, image, spacing)
    if image.masses:
        regions = [osirix_roi("Mass", outline, phantom, spacing) for outline in phantom.outlines]
        if rng.random() < 0.3:  # another type of lesion, which the reader must ignore
            regions.append(osirix_roi("Calcification", calcification_near_mass(rng, phantom), phantom, spacing))
        content = {"Images": [{"ImageIndex": 0, "NumberOfROIs": len(regions), "ROIs": regions}]}
        atomic_write_bytes(folder / "AllXML" / f"{image.case}.xml", plistlib.dumps(content))


def calcification_near_mass(rng: np.random.Generator, phantom: Phantom) -> NDArray[np.float64]:
    """Draw the position (x, y) in pixels, shape (1, 2), of a calcification in the image near its first mass."""
    height, width = phantom.pixels.shape
    centre = phantom.outlines[0].mean(axis=0, keepdims=True)
    return np.asarray(np.clip(centre + rng.uniform(-9, 9, (1, 2)), 0, [width - 1, height - 1]))


def write_inbreast_dicom(path: Path, pixels: NDArray[np.uint16], image: InbreastImageSpec, spacing: float) -> None:
    """Write the DICOM file of an image; `spacing` in mm."""
    write_greyscale_dicom(
        path,
        pixels,
        bits=12,
        uids=("image", image.patient, image.case),
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


def osirix_roi(name: str, outline: NDArray[np.float64], phantom: Phantom, spacing: float) -> dict[str, Any]:
    """Create a region of interest as exported by OsiriX.

    Args:
        name: Name of the lesion type.
        outline: (N, 2) of (x, y) in pixels.
        phantom: The image.
        spacing: Pixel spacing in mm.

    Returns:
        The property list; the area is in cm2, points are in pixels and in mm.
    """
    mask = np.zeros(phantom.pixels.shape, np.uint8)
    cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], 1)
    inside = phantom.pixels[mask > 0].astype(float)
    centre = outline.mean(axis=0)
    return {
        "Area": float(mask.sum() * spacing**2 / 100),
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


def write_inbreast_table(path: Path, specs: Sequence[InbreastImageSpec]) -> None:
    """Write INbreast.csv, with the columns and the CSV dialect of the release."""
    with atomic_write(path) as file:
        table = csv.writer(file, delimiter=";", lineterminator="\r\n")
        table.writerow(INBREAST_COLUMNS.split(";"))
        for image in sorted(specs, key=lambda image: image.case):
            assessment = ("4a", "4c", "5")[int(image.case) % 3] if image.masses else "1"
            date = f"20{8 + int(image.case) % 3:02d}{1 + int(image.case) % 12:02d}"
            table.writerow(["removed", "removed", image.side, image.view, date, image.case, image.density, assessment])
