"""Reader of a union of datasets: folders of several datasets in one folder, each with a reader of its own.

The identifiers of images and patients start with the name of their dataset, as in `inbreast-20586908`, so equal
identifiers of different datasets remain different. The same image in two datasets is rejected, as within one dataset.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mammoseg.data.negatives import accepts_negatives
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.errors import UserError

SEPARATOR = "-"  # between the name of the dataset, which does not contain it, and the identifier


def read(
    root: Path, rejected: RejectedCases, *, sources: Mapping[str, Mapping[str, Any]], negatives: bool = False
) -> list[Mammogram]:
    """Read the images of all datasets, in the order of `sources`.

    Args:
        root: Folder that contains the folders of the datasets.
        rejected: Receives the cases that cannot be used.
        sources: For each dataset, by its name: `folder`, the name of its folder in `root`, and `reader`.
        negatives: Whether to read images without a mass from the datasets whose readers can.

    Returns:
        The accepted images; `Mammogram.source` is the name of their dataset.

    Raises:
        UserError: If there are fewer than two datasets, two names are equal apart from case, or a name or a folder
            contains other characters than letters, digits and underscores or separates folders.
    """
    check_names(list(sources))
    mammograms: list[Mammogram] = []
    for name, source in sources.items():
        folder = str(source["folder"])
        if folder in ("", "..") or Path(folder).name != folder:  # the setting may come from somebody else's checkpoint
            raise UserError(
                f"dataset.reader.sources.{name}.folder must be the name of a folder in dataset.root, got {folder}"
            )
        own = RejectedCases()
        options = {"negatives": negatives} if accepts_negatives(source["reader"]) else {}
        found = source["reader"](root / folder, own, **options)
        rejected.rows += [(f"{name}/{file}", reason) for file, reason in own.rows]
        rejected.ignored.update({f"{name}: {description}": count for description, count in own.ignored.items()})
        rejected.found |= {f"{name}: {description}": count for description, count in own.found.items()}
        prefix = f"{name}{SEPARATOR}"
        mammograms += [
            replace(image, case=f"{prefix}{image.case}", patient=f"{prefix}{image.patient}", source=name)
            for image in found
        ]
    return mammograms


def check_names(names: list[str]) -> None:
    """Check the names of the datasets.

    Raises:
        UserError: If a name is invalid, two are equal apart from case, or there are fewer than two.
    """
    if len(names) < 2:
        raise UserError(f"dataset.reader.sources must contain at least two datasets, got {', '.join(names) or 'none'}")
    for name in names:
        if re.fullmatch(r"\w+", name) is None:
            raise UserError(
                f"dataset.reader.sources: the name of a dataset must consist of letters, digits and underscores, got "
                f"{name}"
            )
    lower = [name.lower() for name in names]
    if repeated := [name for name in names if lower.count(name.lower()) > 1]:
        raise UserError(
            f"dataset.reader.sources: names of datasets must differ in more than case, got {' and '.join(repeated)}"
        )
