"""What the page shows, wherever it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Item:
    """What one model said about one image; all arrays are of one shape (H, W).

    `key`: the same for the same image in several views. `density`: ACR category 1-4, None if unknown. `facts`: more to
    say about it. `image`: grey values 0 to 255; None where it is not there. `truth`: None where it is not known.
    `mask`: the prediction. `levels`: probabilities in 256 steps, as `quantise_probs` returns; None if not stored.
    """

    key: str
    name: str
    density: int | None
    side: str
    view: str
    facts: str
    image: NDArray[np.uint8] | None
    truth: NDArray[np.bool_] | None
    mask: NDArray[np.bool_]
    levels: NDArray[np.uint8] | None


class View(Protocol):
    """One run, or one folder of predictions.

    `note`: a sentence on what cannot be shown, or empty. `threshold`: of the masks; None where it is not known.
    `folder`: where it lies, for the sentences of errors only.
    """

    label: str
    note: str
    threshold: float | None
    folder: Path

    def __len__(self) -> int: ...

    def items(self) -> Iterator[Item]: ...
