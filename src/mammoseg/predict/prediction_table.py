"""Rows of predictions.csv, and the encoding of tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mammoseg.csv_cells import escape_row
from mammoseg.data.images.metadata import ImageMetadata, PixelSpacing, spacing_columns
from mammoseg.metrics.regions import Region
from mammoseg.predict.inputs import Input

PREDICTION_COLUMNS = (
    *("file", "name", "exam", "view", "side", "width", "height"),
    *("spacing_down_mm", "spacing_across_mm", "spacing_from", "highest_probability", "masses", "warning"),
)
MASS_COLUMNS = ("mass", "x", "y", "area_pixels", "area_mm2", "score", "probability", "uncertainty")
TableRow = Mapping[str, Any]


def table_rows(
    source: Input, name: str, prob: NDArray[np.float32], metadata: ImageMetadata, masses: Sequence[Region], warning: str
) -> list[TableRow]:
    """Return the rows of predictions.csv for one image.

    Args:
        source: The input.
        name: Output name of the image.
        prob: (H, W) probabilities at the original resolution.
        metadata: Metadata of the image.
        masses: Connected regions of the predicted mask.
        warning: In what the image is unlike the training images, or empty.

    Returns:
        One row per mass, or a single row without the columns of a mass. Unknown values are empty.
    """
    image: dict[str, Any] = {
        "file": source.file,
        "name": name,
        "view": metadata.view,
        "side": metadata.side,
        "width": prob.shape[1],
        "height": prob.shape[0],
        **spacing_columns(metadata.spacing),
        "highest_probability": f"{prob.max():.4f}",
        "masses": len(masses),
        "warning": warning,
    }
    rows: list[TableRow] = [
        {**image, **mass_columns(index, mass, metadata.spacing)} for index, mass in enumerate(masses, start=1)
    ]
    return rows or [image]


def mass_columns(index: int, mass: Region, spacing: PixelSpacing | None) -> TableRow:
    """Return the columns of predictions.csv that describe a mass.

    Args:
        index: Number of the mass, from 1.
        mass: The mass.
        spacing: Pixel spacing of the image, None if unknown.
    """
    return {
        "mass": index,
        "x": f"{mass.x:.1f}",
        "y": f"{mass.y:.1f}",
        "area_pixels": mass.area,
        "area_mm2": f"{mass.area * spacing.pixel_area:.2f}" if spacing else "",
        "score": f"{mass.max_prob:.4f}",
        "probability": f"{mass.mean_prob:.4f}",
        "uncertainty": "" if np.isnan(mass.mean_std) else f"{mass.mean_std:.4f}",
    }


def encode_csv(columns: Sequence[str], rows: Sequence[TableRow]) -> bytes:
    """Encode a CSV table as UTF-8; missing values are empty cells, and formulas are escaped, see `csv_cells`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(escape_row, rows))
    return text.getvalue().encode(errors="backslashreplace")  # file names may not be UTF-8
