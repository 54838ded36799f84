"""Read the masks that another program predicted, and check that they are those of the tested images."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mammoseg.data.exported_cases import read_case_names
from mammoseg.data.images.mask_labels import COLOUR_MODES, raster_mode
from mammoseg.data.images.read import read_image
from mammoseg.data.preprocessing.fingerprints import hash_array
from mammoseg.data.split_result import Indices
from mammoseg.data.store import PreparedStore
from mammoseg.errors import ImageReadError, UserError

SUFFIX = ".png"


def read_masks_of(folder: Path, names: Mapping[int, str], store: PreparedStore) -> Iterator[NDArray[np.bool_]]:
    """Read the predicted mask of each image, in the order of `names`.

    Args:
        folder: Folder of the masks, which `check_files` has checked.
        names: Name of the mask of each image without suffix, by row of the store.
        store: The prepared images.

    Yields:
        Masks of shape (H, W).

    Raises:
        UserError: If a mask cannot be read, or has another size than its image or other values than 0 and 1.
    """
    paths = find_masks(folder)
    for row, name in names.items():
        path, shape = paths[name], store.masks[row].shape
        try:
            values = read_image(path, mask=True)[0]
        except ImageReadError as error:
            if raster_mode(path) in COLOUR_MODES:
                raise UserError(
                    f"{path}: the mask must be a greyscale image with the values 0 and 1, got one with a palette, "
                    "colours or transparency; save it as 8-bit greyscale"
                ) from error
            raise UserError(f"{path}: {error}") from error
        if values.shape != shape:
            raise UserError(
                f"{path}: the mask must have the size of the prepared image, {shape[1]}x{shape[0]} pixels, got "
                f"{values.shape[1]}x{values.shape[0]}; set the preprocessing with which the images were exported"
            )
        if invalid := sorted({*np.unique(values).tolist()} - {0, 1}):
            raise UserError(f"{path}: the mask must have the values 0 (background) and 1 (mass), got {invalid[0]:g}")
        yield np.asarray(values == 1)


def find_masks(folder: Path) -> dict[str, Path]:
    """Return the PNG files in a folder by name without suffix."""
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() == SUFFIX}


def check_files(folder: Path, names: Mapping[int, str], store: PreparedStore, part: str) -> None:
    """Check that a folder contains the masks of all tested images, and of no other image.

    Args:
        folder: Folder of the masks; files that are not PNG files are ignored.
        names: Name of the mask of each tested image, by row of the store.
        store: The prepared images.
        part: Name of the tested part, for the messages.

    Raises:
        UserError: If it does not.
    """
    if not folder.is_dir():
        raise UserError(f"masks={folder}: no such folder; set masks to the folder of the predicted masks")
    found = find_masks(folder)
    missing = [row for row, name in names.items() if name not in found]
    if missing:
        raise UserError(
            f"masks={folder}: must contain the masks of all {len(names)} images of part={part}, got no "
            f"{names[missing[0]]}{SUFFIX} for case {store.cases[missing[0]].case} ({len(missing)} missing); predict "
            "them, or set another part, split or case_names"
        )
    if others := sorted(found.keys() - set(names.values())):
        raise UserError(
            f"masks={folder}: must contain only masks of the images of part={part}, got {others[0]}{SUFFIX} "
            f"({len(others)} others); remove them, or set another part, split or case_names"
        )


def mask_names(rows: Indices, store: PreparedStore, part_of: Mapping[int, str], table: Path | None) -> dict[int, str]:
    """Return the name of the mask of each tested image, without suffix, by row of the store.

    Args:
        rows: Rows of the tested images.
        store: The prepared images.
        part_of: Part of each image: train, val or test, by row.
        table: case_names.csv of an export; None if each mask is named after its case.

    Raises:
        UserError: If the table lacks an image, or the images or their parts differ from those of the export.
    """
    if table is None:
        return {row: store.cases[row].case for row in rows.tolist()}
    exported = {case.case: case for case in read_case_names(table)}
    names = {}
    for row in rows.tolist():
        name, part = store.cases[row].case, part_of.get(row, "")
        if name not in exported:
            raise UserError(f"case_names={table}: must contain case {name}; set the dataset and split of the export")
        if exported[name].part != part:
            raise UserError(
                f"case_names={table}: case {name} must be in the part {exported[name].part} as in the export, got "
                f"{part or 'none'}; set the split of the export"
            )
        if exported[name].image_hash != hash_array(store.images[row]):
            raise UserError(
                f"case_names={table}: case {name} was exported with other preprocessing; set that of the export, such "
                "as dataset.size"
            )
        names[row] = exported[name].name
    return names


def parts_of_rows(parts: Mapping[str, Indices], halves: Collection[str]) -> dict[int, str]:
    """Return the part of each image by row: train, val or test.

    Args:
        parts: Rows by part, see `Split.parts`.
        halves: Names of parts that are both tested.

    Example:
        >>> parts_of_rows({"train": np.array([0, 2]), "half1": np.array([1])}, ("half1", "half2"))
        {0: 'train', 2: 'train', 1: 'test'}
    """
    return {row: "test" if part in halves else part for part, rows in parts.items() for row in rows.tolist()}
