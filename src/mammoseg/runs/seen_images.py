"""Images of a test that a network has seen in training: the column `seen` of results.csv."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

UNSEEN = "no"
# Values of the column `seen`, in descending order of their effect on the results.
SEEN = ("train", "val", "train_patient", "val_patient", UNSEEN)


def worst(values: Iterable[str]) -> str:
    """Return the value of `SEEN` with the largest effect on the results.

    Example:
        >>> worst(["no", "val", "train_patient"])
        'val'
    """
    return min(values, key=SEEN.index)


def count_seen(values: Sequence[str]) -> dict[str, int]:
    """Count the images of each value of `SEEN` except "no"; values without images are omitted.

    Example:
        >>> count_seen(["no", "train", "train"])
        {'train': 2}
    """
    counts = {name: list(values).count(name) for name in SEEN if name != UNSEEN}
    return {name: count for name, count in counts.items() if count}


def seen_sentence(counts: Mapping[str, Any], n_images: int) -> str:
    """Describe how many images of a test a checkpoint has seen; empty if there are none.

    Args:
        counts: Result of `count_seen`.
        n_images: Number of tested images.

    Example:
        >>> print(seen_sentence({"train": 3, "val_patient": 1}, 10))
        4 of the 10 test images are not independent of the training (3 in the training part, 1 of patients of the \
validation part), so the results are optimistic.
    """
    kinds = {
        "train": "in the training part",
        "val": "in the validation part",
        "train_patient": "of patients of the training part",
        "val_patient": "of patients of the validation part",
    }
    listed = ", ".join(f"{count} {kinds[name]}" for name, count in counts.items())
    if not listed:
        return ""
    return (
        f"{sum(counts.values())} of the {n_images} test images are not independent of the training ({listed}), so the "
        "results are optimistic."
    )
