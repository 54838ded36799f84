"""The contract of dataset readers: what they return, and how they report cases that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mammoseg.density import ACRDensity

MAX_LISTED = 30  # rejected cases in the terminal; data_report.json lists all of them


@dataclass(frozen=True)
class Mammogram:
    """One image with its masses, as found in a dataset folder; no pixel is decoded yet.

    The masses are given either by `outlines` or by `mask_candidates`; all of them are united into one mask.

    Attributes:
        case: Identifier, unique within the dataset, usable as a file name.
        image_file: The image.
        patient: Identifier that the views of one patient share; splits keep them in one part.
        density: ACR category as `ACRDensity` or as an integer 1 to 4; None if the dataset does not state it.
        side: L or R.
        view: CC, MLO, ...
        outlines: Polygons (N, 2) of (x, y) in pixels of the full-size image; x is the column, y the row, and the
            origin is the centre of the top left pixel.
        mask_candidates: For each mass the files among which its mask is. Mass pixels are brighter than half the
            maximum.
        masks_verified: Whether each mass has one file, known to be a mask of the image's size. Otherwise the mask is
            found by its pixels and resized if need be.
        split: The dataset's own part: train, val or test; empty if it has none.
        masses: Number of masses.
    """

    case: str
    image_file: Path
    patient: str
    density: ACRDensity | None = None
    side: str = ""
    view: str = ""
    outlines: tuple[np.ndarray, ...] = ()
    mask_candidates: tuple[tuple[Path, ...], ...] = ()
    masks_verified: bool = True
    split: str = ""
    masses: int = 1

    def __post_init__(self) -> None:
        if self.density is not None:
            object.__setattr__(self, "density", ACRDensity(self.density))


@dataclass
class RejectedCases:
    """Cases that cannot be used, with the reasons. Readers and preprocessing add to it; `dataset.on_error` decides.

    The rows that a reader adds are part of the prepared store's fingerprint: rewording a reason makes the stores of
    datasets with such cases be prepared again.
    """

    rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, file: Path | str, reason: object) -> None:
        """Record a case.

        Args:
            file: File or case, relative to the dataset's root.
            reason: A short reason that says what to fix.
        """
        self.rows.append((str(file), str(reason)))

    def format(self) -> str:
        """An aligned list of the first `MAX_LISTED` cases for the terminal."""
        listed = self.rows[:MAX_LISTED]
        width = max((len(file) for file, _ in listed), default=0)
        lines = [f"  {file:<{width}}  {reason}" for file, reason in listed]
        if more := len(self.rows) - len(listed):
            lines.append(f"  ... and {more} more")
        return "\n".join(lines)


# (root, rejected) -> usable images. A root that does not hold this dataset is a UserError; a single case that cannot
# be used is added to `rejected`.
Reader = Callable[[Path, RejectedCases], list[Mammogram]]
