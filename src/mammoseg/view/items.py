"""Images and views that the page shows, independent of their source."""

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
        key: Identifies the image in several views.
        name: Shown on the page.
        density: ACR category 1 to 4, None if unknown.
        side: "L", "R" or empty.
        view: Such as "CC"; empty if unknown.
        caption: Further text.
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
    """One run, or one folder of predictions.

    Attributes:
        label: Shown on the page.
        note: A sentence on what cannot be shown, or empty.
        threshold: Threshold of the masks; None if unknown.
        folder: Its folder, for error messages only.
    """

    label: str
    note: str
    threshold: float | None
    folder: Path

    def __len__(self) -> int: ...

    def items(self) -> Iterator[ViewerImage]:
        """Yield the images."""
        ...
