"""Bounding boxes and contours of predicted masses in the COCO format.

Source:
    COCO, "Data format", https://cocodataset.org/#format-data; the key score is that of its format of results.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from mammoseg.errors import UserError
from mammoseg.predict.findings import Findings

CATEGORY = {"id": 1, "name": "mass", "supercategory": "finding"}
INFO = {"description": "Masses predicted by mammoseg. Research use only"}


def encode_image(file: str, findings: Findings) -> bytes:
    """Encode the masses of one image as a COCO file.

    Args:
        file: Path of the image relative to the input folder.
        findings: Its masses.

    Returns:
        JSON. The coordinates are in pixels of the original image, with the top left corner of the top left pixel at
        (0, 0); `area` is the number of pixels, `score` the highest and `probability` the mean probability in the mass.
    """
    height, width = findings.prob.shape
    annotations = [
        {
            "id": index,
            "image_id": 1,
            "category_id": CATEGORY["id"],
            "bbox": [*outline.box],
            "segmentation": [outline.polygon.ravel().tolist()],
            "area": mass.area,
            "iscrowd": 0,
            "score": round(mass.max_prob, 4),
            "probability": round(mass.mean_prob, 4),
            "mass": index,
        }
        for index, (mass, outline) in enumerate(zip(findings.masses, findings.outlines, strict=True), start=1)
    ]
    image = {"id": 1, "file_name": file, "width": width, "height": height}
    content = {"info": INFO, "categories": [CATEGORY], "images": [image], "annotations": annotations}
    return json.dumps(content, separators=(",", ":")).encode()


def read_image_file(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read the COCO file of a single image.

    Returns:
        The image and its annotations.

    Raises:
        UserError: If the file is damaged.
    """
    try:
        content = json.loads(path.read_bytes())
        return {**content["images"][0]}, [{**annotation} for annotation in content["annotations"]]
    except (ValueError, TypeError, LookupError, RecursionError):
        raise UserError(f"{path}: damaged; remove it and repeat the prediction, which writes it again") from None


def merge_images(paths: Iterable[Path], output: IO[str]) -> None:
    """Merge the COCO files of single images, with new ids. Only one file is in memory at a time.

    Args:
        paths: Outputs of `encode_image`.
        output: Receives the merged file.

    Raises:
        UserError: If a file is damaged.
    """
    header = json.dumps({"info": INFO, "categories": [CATEGORY]}).removesuffix("}")
    output.write(f'{header}, "annotations": [')
    images: list[dict[str, Any]] = []
    n_annotations = 0
    for path in paths:
        image, annotations = read_image_file(path)
        images.append({**image, "id": len(images) + 1})
        for annotation in annotations:
            n_annotations += 1
            merged = {**annotation, "id": n_annotations, "image_id": len(images)}
            output.write(f"{',' if n_annotations > 1 else ''}\n{json.dumps(merged, separators=(',', ':'))}")
    output.write('\n], "images": [')
    output.write(",".join(f"\n{json.dumps(image)}" for image in images))
    output.write("\n]}\n")
