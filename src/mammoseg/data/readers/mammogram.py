"""Interface of dataset readers: the images they return and the cases they reject."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mammoseg.data.readers.mass_location import MassLocation
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

MAX_REASONS = 5  # in the summary of rejected cases
MAX_LISTED = 30  # rejected cases printed to the terminal; data_report.json lists all of them


@dataclass(frozen=True)
class Mammogram:
    """One image of a dataset with its masses; pixels are not decoded yet.

    Masses are described by either `outlines` or `mask_candidates`, whose union is the mask of the image, or only marked
    by `locations`. An image without a mass has none of them, or an empty mask.

    Attributes:
        case: Identifier, unique within the dataset and usable as a file name.
        image_file: Path of the image.
        patient: Identifier of the patient; splits keep all images of a patient in one part.
        density: ACR category as `ACRDensity` or integer 1 to 4; None if unknown.
        side: Laterality, L or R; may be empty.
        view: View position, such as CC or MLO; may be empty.
        outlines: Polygons (N, 2) of (x, y) in pixels of the full-size image; x is the column and y the row, and the
            origin is the centre of the top-left pixel.
        mask_candidates: For each mass, the files that may be its mask; see `images.mask_labels` for their values.
        masks_verified: Whether each mass has exactly one file, known to be a mask of the image's size. Otherwise the
            mask is identified by its pixels and resized if necessary.
        locations: Boxes or circles that mark the masses of an image without outlines. Such an image is only used to
            evaluate detection, never for training or pixel metrics.
        split: Part in the official split of the dataset (train, val or test), or empty.
        masses: Number of masses.
        source: Name of the dataset in a union of datasets; otherwise empty.

    Example:
        >>> mammogram = Mammogram(case="a", image_file=Path("a.png"), patient="p1", density=2)
        >>> mammogram.density
        <ACRDensity.SCATTERED: 2>
    """

    case: str
    image_file: Path
    patient: str
    density: ACRDensity | None = None
    side: str = ""
    view: str = ""
    outlines: tuple[NDArray[Any], ...] = ()
    mask_candidates: tuple[tuple[Path, ...], ...] = ()
    masks_verified: bool = True
    locations: tuple[MassLocation, ...] = ()
    split: str = ""
    masses: int = 1
    source: str = ""

    def __post_init__(self) -> None:
        if self.density is not None:
            object.__setattr__(self, "density", ACRDensity(self.density))
        if self.locations and (self.outlines or self.mask_candidates):
            raise UserError(
                f"{self.case}: locations must be empty for an image with outlines or masks, got "
                f"{len(self.locations)}; correct the reader"
            )


@dataclass
class RejectedCases:
    """Cases that cannot be used, with reasons. Filled by readers and preprocessing; handled by `dataset.on_error`.

    Attributes:
        rows: (file or case, reason) of each rejected case.
        ignored: Number of annotations that were ignored, and of images that are not used because of known properties of
            the dataset, by description, for the data report.
        found: Numbers of images, patients or annotations in the files of the dataset, by name, for comparison with the
            published numbers.

    Example:
        >>> rejected = RejectedCases()
        >>> rejected.add("a.png", "no such file")
        >>> print(rejected.format())
          a.png  no such file
    """

    rows: list[tuple[str, str]] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    found: dict[str, int] = field(default_factory=dict)

    def add(self, file: Path | str, reason: object) -> None:
        """Add a rejected case.

        Args:
            file: Case, or file relative to the dataset's root.
            reason: Short reason that states what to fix.
        """
        self.rows.append((str(file), str(reason)))

    def summary(self) -> str:
        """Return one line per reason, the most frequent first, with its number of cases and the first of them."""
        files: dict[str, list[str]] = {}
        for file, reason in self.rows:
            files.setdefault(reason, []).append(file)
        reasons = sorted(files.items(), key=lambda item: -len(item[1]))
        lines = [
            f"  {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {reason}"
            for reason, names in reasons[:MAX_REASONS]
        ]
        if more := len(reasons) - MAX_REASONS:
            lines += [f"  ... and {more} more reasons"] if more > 0 else []
        return "\n".join(lines)

    def format(self) -> str:
        """Return the first `MAX_LISTED` cases as an aligned list for the terminal."""
        listed = self.rows[:MAX_LISTED]
        width = max((len(file) for file, _ in listed), default=0)
        lines = [f"  {file:<{width}}  {reason}" for file, reason in listed]
        if more := len(self.rows) - len(listed):
            lines.append(f"  ... and {more} more")
        return "\n".join(lines)


# (root, rejected) -> accepted images. Raises UserError if the root does not contain the dataset; single cases that
# cannot be used are added to `rejected`. A reader with the argument `negatives: bool` also returns the images without a
# mass if it is True, which `dataset.negatives` requires.
Reader = Callable[..., list[Mammogram]]
