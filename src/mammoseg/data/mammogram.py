"""What a reader says about one image, before any pixel is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

DENSITIES = (1, 2, 3, 4)


@dataclass(frozen=True)
class Mammogram:
    """One image with its masses, as found in a dataset folder.

    The masses are either `outlines`, polygons of shape (N, 2) with (x, y) in pixels of the full-size
    image (x = column, y = row, origin at the centre of the top left pixel), or a `mask_file` that has
    mass pixels brighter than half its range.
    """

    case: str  # unique within the dataset, usable as a file name
    image_file: Path
    patient: str  # views of one woman share it; splits keep it in one part
    density: int | None = None  # ACR category 1-4; None where the dataset is silent
    side: str = ""  # L or R
    view: str = ""  # CC, MLO, ...
    outlines: tuple[np.ndarray, ...] = ()
    mask_file: Path | None = None
    split: str = ""  # the dataset's own part: train, val or test; empty if it has none
    masses: int = 1


@dataclass
class BadCases:
    """Cases that cannot be used, and why. Readers and `prepare` add to it; `dataset.on_bad` decides."""

    rows: list[tuple[str, str]] = field(default_factory=list)

    def add(self, file: Path | str, reason: object) -> None:
        """`file` relative to the dataset's root; `reason` in a few words that say what to mend."""
        self.rows.append((str(file), str(reason)))

    def table(self) -> str:
        width = max((len(file) for file, _ in self.rows), default=0)
        return "\n".join(f"  {file:<{width}}  {reason}" for file, reason in self.rows)


# A dataset's reader: (root, bad) -> the usable images. A root that is not this dataset is a UserError;
# a single case that is unusable goes into `bad`.
Reader = Callable[[Path, BadCases], list[Mammogram]]
