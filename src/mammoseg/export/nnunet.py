"""Export the prepared images of a dataset with their split in the raw data format of nnU-Net v2.

Format: Isensee et al., documentation of nnU-Net v2, "nnU-Net dataset format" and "How to generate custom splits".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

import mammoseg
from mammoseg.build import build_section
from mammoseg.data.exported_cases import CASE_NAMES_FILE, ExportedCase, write_case_names
from mammoseg.data.known_datasets import common_license, find_datasets
from mammoseg.data.preprocessing.fingerprints import hash_array
from mammoseg.data.split_result import Split
from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError
from mammoseg.files import atomic_dir, atomic_write_bytes, atomic_write_text
from mammoseg.runs.settings import public

LABELS = {"background": 0, "mass": 1}
FILE_ENDING = ".png"
CHANNEL = "_0000"  # suffix of the only channel
MAX_VALUE = np.iinfo(np.uint16).max
# Folders of the images and of the masks of each part.
FOLDERS = {"train": ("imagesTr", "labelsTr"), "val": ("imagesTr", "labelsTr"), "test": ("imagesTs", "labelsTs")}


def export_nnunet(cfg: DictConfig, output: Path, dataset_id: int) -> Path:
    """Write a dataset in the raw data format of nnU-Net v2.

    The training and validation images are in imagesTr and labelsTr, and are the training and validation part of fold 0
    in splits_final.json; the test images are in imagesTs and labelsTs. case_names.csv lists the name of each image.

    Args:
        cfg: Config with the sections `dataset` and `split`.
        output: Folder of the raw datasets of nnU-Net, nnUNet_raw.
        dataset_id: Number of the dataset in its name, such as 42 for Dataset042_inbreast.

    Returns:
        The folder of the dataset.

    Raises:
        UserError: If the folder or another dataset with this number exists, or the split tests both halves of a fold.
    """
    folder = output / f"Dataset{dataset_id:03d}_{cfg.dataset.name}"
    check_unused(folder, dataset_id)
    splitter = build_section(cfg, "split")
    if getattr(splitter, "test_both", False):
        raise UserError(
            "split.test must be half with format=nnunet, since nnU-Net does not select a checkpoint for each half of a "
            "fold, got both"
        )
    dataset = build_section(cfg, "dataset")
    store = dataset.open_store(require_outlines=True)
    split = splitter(store.cases, by_mass=dataset.with_negatives)
    cases = name_cases(store, split, str(cfg.dataset.name))
    with atomic_dir(folder) as temporary:
        for row, case in cases.items():
            write_case(temporary, case, store.images[row], store.masks[row])
        for name, content in tables([*cases.values()], cfg).items():
            atomic_write_text(temporary / name, json.dumps(content, indent=1) + "\n")
        write_case_names(temporary / CASE_NAMES_FILE, cases.values())
    return folder


def check_unused(folder: Path, dataset_id: int) -> None:
    """Check that neither the folder nor another dataset with the same number exists, which nnU-Net would reject.

    Args:
        folder: Folder of the dataset.
        dataset_id: Its number.

    Raises:
        UserError: If one of them exists.
    """
    existing = sorted(folder.parent.glob(f"Dataset{dataset_id:03d}_*"))
    if existing:
        raise UserError(
            f"{existing[0]}: a dataset with dataset_id={dataset_id} already exists; choose another dataset_id or "
            "output, or remove the folder"
        )


def name_cases(store: PreparedStore, split: Split, dataset: str) -> dict[int, ExportedCase]:
    """Return the images of all parts of the split, by row of the store.

    Identifiers of images may contain any characters, so the names consist of the name of the dataset and the row.

    Args:
        store: The prepared images.
        split: Their parts: train, val and test.
        dataset: Name of the dataset.
    """
    part_of = {row: part for part, rows in split.parts().items() for row in rows.tolist()}
    return {
        row: ExportedCase(
            name=f"{dataset}_{row:05d}",
            case=store.cases[row].case,
            patient=store.cases[row].patient,
            part=part_of[row],
            image_hash=hash_array(store.images[row]),
        )
        for row in sorted(part_of)
    }


def write_case(folder: Path, case: ExportedCase, image: NDArray[np.float32], mask: NDArray[np.uint8]) -> None:
    """Write the image and the mask of a case to the folders of its part.

    Args:
        folder: Folder of the dataset.
        case: The case.
        image: (H, W).
        mask: (H, W) in {0, 1}.
    """
    images, labels = FOLDERS[case.part]
    atomic_write_bytes(folder / images / f"{case.name}{CHANNEL}{FILE_ENDING}", encode_png(to_uint16(image)))
    atomic_write_bytes(folder / labels / f"{case.name}{FILE_ENDING}", encode_png(np.asarray(mask)))


def to_uint16(image: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Rescale grey values linearly from the range of the image to 0 to 65535.

    nnU-Net normalises each image to zero mean and unit variance, so the scale does not affect it.

    Args:
        image: (H, W).

    Returns:
        (H, W); 0 for a constant image.

    Example:
        >>> to_uint16(np.array([[-1, 0], [0.5, 1]], np.float32)).tolist()
        [[0, 32768], [49151, 65535]]
    """
    values = np.asarray(image, np.float64)
    low, high = values.min(), values.max()
    scale = MAX_VALUE / (high - low) if high > low else 0.0
    return np.asarray(np.rint((values - low) * scale), np.uint16)


def encode_png(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Encode an image (H, W) of 8 or 16 bits as PNG."""
    encoded, content = cv2.imencode(FILE_ENDING, pixels)
    assert encoded
    return content.tobytes()


def tables(cases: Sequence[ExportedCase], cfg: DictConfig) -> Mapping[str, Any]:
    """Return the content of the JSON files by name: dataset.json and splits_final.json.

    Args:
        cases: All images.
        cfg: Config with the sections `dataset` and `split`.
    """
    names = {part: [case.name for case in cases if case.part == part] for part in FOLDERS}
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    return {
        "dataset.json": {
            "channel_names": {"0": "mammogram"},
            "labels": LABELS,
            "numTraining": len(names["train"]) + len(names["val"]),
            "file_ending": FILE_ENDING,
            "overwrite_image_reader_writer": "NaturalImage2DIO",  # the reader of nnU-Net for PNG files
            "name": str(cfg.dataset.name),
            "description": "Preprocessed mammograms and masks of masses; case_names.csv lists the original names.",
            "licence": common_license(find_datasets(config)),
            "converted_by": f"mammoseg {mammoseg.__version__}",
            "settings": public({name: config[name] for name in ("dataset", "split")}),
        },
        "splits_final.json": [{part: names[part] for part in ("train", "val")}],
    }
