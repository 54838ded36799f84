"""Images without a mass: the setting `dataset.negatives`, and the selection of a fraction of them."""

from __future__ import annotations

import hashlib
import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from mammoseg.errors import UserError

Negatives = str | float  # "none", "all" or a fraction in (0, 1)


def validate_negatives(value: object, reader: Callable[..., Any]) -> Negatives:
    """Check the setting `dataset.negatives`.

    Args:
        value: "none", "all", or the fraction of the available images without a mass, in (0, 1].
        reader: Reader of the dataset.

    Returns:
        "none", "all" or a fraction in (0, 1).

    Raises:
        UserError: If the value is invalid, or the reader does not support it.
    """
    if value == "none":
        return "none"
    if not accepts_negatives(reader):
        raise UserError(
            f"dataset.negatives must be none with a reader that has no argument negatives, got {value}; add the "
            "argument to the function that dataset.reader names"
        )
    if value == "all":
        return "all"
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return "all" if value == 1 else float(value)
    raise UserError(f"dataset.negatives must be none, all or a fraction above 0 and up to 1, got {value}")


def uses_negatives(value: object) -> bool:
    """Return whether images without a mass are used with this value of `dataset.negatives`."""
    return value != "none"


def accepts_negatives(reader: Callable[..., Any]) -> bool:
    """Return whether a reader has the argument `negatives`, see `readers.mammogram.Reader`."""
    return "negatives" in inspect.signature(reader).parameters


def select_patients(patients: Sequence[str], fraction: float) -> set[str]:
    """Select the patients whose images without a mass are used.

    Patients are ordered by the hash of their identifier, so the selection does not depend on the order of the images,
    and a larger fraction includes the patients of a smaller one. The number of selected patients is that with which the
    number of images is nearest to the fraction, and at least 1.

    Args:
        patients: Patient of each available image without a mass, (N,), N >= 1.
        fraction: Fraction of these images, in (0, 1].

    Returns:
        The selected patients.

    Example:
        >>> sorted(select_patients(["p1", "p1", "p2", "p3"], fraction=0.5))
        ['p2', 'p3']
    """
    n_images = Counter(patients)
    order = sorted(n_images, key=lambda patient: hashlib.sha256(patient.encode()).digest())
    target, total = fraction * len(patients), 0
    best, n_selected = float("inf"), 1
    for index, patient in enumerate(order, start=1):
        total += n_images[patient]
        if abs(total - target) < best:
            best, n_selected = abs(total - target), index
    return set(order[:n_selected])
