"""Synthetic prepared images and run folders, written without training."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.store import Case, write_cases
from mammoseg.density import ACRDensity
from mammoseg.runs import results
from mammoseg.runs.predictions import write_predictions

SIZE = 48


@dataclass(frozen=True)
class SyntheticRun:
    """Content of a run folder; `truths` and `levels` (N, SIZE, SIZE) are in the order of `cases`."""

    folder: Path
    cases: list[str]
    truths: NDArray[np.bool_]
    levels: NDArray[np.uint8]
    threshold: float


def disc(row: int, column: int, radius: int) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return np.asarray((rows - row) ** 2 + (columns - column) ** 2 <= radius**2, bool)


def write_synthetic_store(folder: Path, cases: list[str], seed: int = 0) -> NDArray[np.bool_]:
    """Write images with a disc as mass each; returns the masks."""
    rng = np.random.default_rng(seed)
    discs = rng.integers((12, 12, 3), (36, 36, 9), (len(cases), 3)).tolist()
    truths = np.stack([disc(row, column, radius) for row, column, radius in discs])
    folder.mkdir(parents=True)
    images = rng.random((len(cases), SIZE, SIZE), np.float32) * 0.3 + 0.5 * truths
    np.save(folder / "images.npy", images.astype(np.float32))
    np.save(folder / "masks.npy", truths.astype(np.uint8))
    np.save(folder / "previews.npy", np.zeros((len(cases), 160, 160), np.uint8))
    rows = [
        Case(
            case=name,
            patient=f"SECRET{index}",
            density=ACRDensity.from_index(index % 4),
            given_density=ACRDensity.FATTY,
            percent_density=0.1,
            estimated_density=ACRDensity.FATTY,
            side="L",
            view="CC",
            split="",
            masses=1,
            mass_area=9,
            mass_pixels=int(truths[index].sum()),
            breast_fraction=0.4,
            height=90,
            width=70,
            top=0,
            bottom=90,
            left=0,
            right=70,
            crop_skipped=0,
            flipped=0,
            mask_resized=0,
        )
        for index, name in enumerate(cases)
    ]
    write_cases(folder / "cases.csv", rows)
    (folder / "about.json").write_text(json.dumps({"skipped": []}))
    return truths


def write_synthetic_run(
    folder: Path,
    cases: list[str],
    truths: NDArray[np.bool_],
    *,
    seed: int,
    threshold: float = 0.5,
    masks_only: bool = False,
) -> SyntheticRun:
    """Write a run folder; `masks_only`: with predictions.npz as in earlier versions, without probabilities."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(-60, 60, truths.shape)  # so that a change of the threshold by one level changes the mask
    levels = (np.where(np.roll(truths, seed, axis=1), 180, 65) + noise).astype(np.uint8)
    masks = levels >= round(256 * threshold)
    folder.mkdir(parents=True)
    packed = np.packbits(masks, axis=2)
    if masks_only:
        np.savez_compressed(folder / "predictions.npz", cases=np.array(cases), masks=packed)
    else:
        write_predictions(folder / "predictions.npz", cases, list(packed), list(levels), threshold)
    run_info = {"run": f"phantom-m{seed}", "experiment": "", "dataset": "phantom", "method": f"m{seed}", "model": "m"}
    rows = []
    for index, case in enumerate(cases):
        pred, true = masks[index], truths[index]
        counts = [int(np.sum(region)) for region in (pred & true, pred & ~true, ~pred & true, ~pred & ~true)]
        image = {"case": case, "patient": f"SECRET{index}", "side": "L", "view": "CC", "density": 1 + index % 4}
        values = dict(zip(results.COUNTS, counts, strict=True))
        rows.append({**run_info, "loss": "l", "fold": 0, "seed": seed, **image, **values})
    results.write_results(folder / "results.csv", rows)
    return SyntheticRun(folder, cases, truths, levels, threshold)
