"""What a reader says about one image, before any pixel is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

DENSITIES = (1, 2, 3, 4)
MOST_SHOWN = 30  # bad cases in the terminal; data_report.json has all of them


@dataclass(frozen=True)
class Mammogram:
    """One image with its masses, as found in a dataset folder.

    The masses are either `outlines`, polygons of shape (N, 2) with (x, y) in pixels of the full-size
    image (x = column, y = row, origin at the centre of the top left pixel), or `mask_files`, pictures that
    have mass pixels brighter than half their range; all of them are joined into one mask.
    """

    case: str  # unique within the dataset, usable as a file name
    image_file: Path
    patient: str  # views of one woman share it; splits keep it in one part
    density: int | None = None  # ACR category 1-4; None where the dataset is silent
    side: str = ""  # L or R
    view: str = ""  # CC, MLO, ...
    outlines: tuple[np.ndarray, ...] = ()
    # One tuple for each mass: the files among which its mask is.
    mask_files: tuple[tuple[Path, ...], ...] = ()
    # False where a file may be something else than a mask, or a mask of another size than the image: then the
    # pixels decide, and sizes are matched.
    trusted_masks: bool = True
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
        shown = self.rows[:MOST_SHOWN]
        width = max((len(file) for file, _ in shown), default=0)
        lines = [f"  {file:<{width}}  {reason}" for file, reason in shown]
        if more := len(self.rows) - len(shown):
            lines.append(f"  ... and {more} more")
        return "\n".join(lines)


# A dataset's reader: (root, bad) -> the usable images. A root that is not this dataset is a UserError;
# a single case that is unusable goes into `bad`.
Reader = Callable[[Path, BadCases], list[Mammogram]]
