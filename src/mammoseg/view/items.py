"""Interface between the viewer and the sources of its images: runs, or folders of predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ViewerImage:
    """The prediction of one model for one image; all arrays have the same shape (H, W).

    Attributes:
        key: Identifier of the image, the same in all views.
        name: Name on the page.
        density: ACR category 1 to 4, None if unknown.
        side: "L", "R" or empty.
        view: View position, such as "CC"; empty if unknown.
        caption: Additional text in the list; may be empty.
        image: Grey values 0 to 255; None if not available.
        truth: Ground-truth mask; None if unknown.
        mask: Predicted mask.
        levels: Probabilities in 256 steps, as `quantise_probs` returns; None if not stored.
    """

    key: str
    name: str
    density: int | None
    side: str
    view: str
    caption: str
    image: NDArray[np.uint8] | None
    truth: NDArray[np.bool_] | None
    mask: NDArray[np.bool_]
    levels: NDArray[np.uint8] | None


class View(Protocol):
    """Images and predictions of one run or of one folder of predictions.

    Attributes:
        label: Name on the page.
        note: Limitations, such as missing probabilities; shown below the image if not empty.
        threshold: Threshold of the masks; None if unknown.
        folder: Source folder; used in error messages only.
    """

    label: str
    note: str
    threshold: float | None
    folder: Path

    def __len__(self) -> int: ...

    def items(self) -> Iterator[ViewerImage]:
        """Yield the images."""
        ...
