"""predictions.npz of somebody else allocates no more memory than its arrays can need."""

from __future__ import annotations

import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from mammoseg.errors import UserError
from mammoseg.runs.predictions import read_predictions, write_predictions


def test_predictions_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    mask = np.zeros((16, 16), bool)
    mask[2:5, 3:9] = True
    write_predictions(path, ["=a", "b"], [np.packbits(mask, axis=1)] * 2, [(mask * 200).astype(np.uint8)] * 2, 0.5)
    predictions = read_predictions(path)
    assert predictions.cases == ["=a", "b"]
    assert all((read == mask).all() for read in predictions.masks)
    with mock.patch.object(np, "unpackbits", side_effect=MemoryError), pytest.raises(UserError, match="memory"):
        read_predictions(path)


def header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    return (
        np.lib.format.magic(1, 0)
        + bytes([118, 0])
        + (f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n").encode()
    )


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("cases.npy", (1,), "<U500000000"),
        ("cases.npy", (1,), "|O"),
        ("masks.npy", (1, 64, 8), "|V100000000"),
        ("levels.npy", (1, 64, 64), "<u8"),
        ("threshold.npy", (2**32,), "<f8"),
        ("other.npy", (1,), "|u1"),
    ],
)
def test_arrays_of_another_type_are_rejected_before_they_are_read(
    tmp_path: Path, name: str, shape: tuple[int, ...], dtype: str
) -> None:
    headers = {
        "cases.npy": header((1,), "<U1"),
        "masks.npy": header((1, 64, 8)),
        "levels.npy": header((1, 64, 64)),
        "threshold.npy": header((), "<f8"),
        name: header(shape, dtype),
    }
    path = tmp_path / "predictions.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in headers.items():
            archive.writestr(entry, content)
    read = mock.patch.object(np, "load", side_effect=AssertionError("read"))
    with read, pytest.raises(UserError, match=r"predictions\.npz: damaged"):
        read_predictions(path)


def test_predictions_must_be_those_of_the_test_images(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    write_predictions(path, ["a", "b"], [np.zeros((16, 2), np.uint8)] * 2, [np.zeros((16, 16), np.uint8)] * 2, 0.5)
    assert read_predictions(path, ["b", "a"]).cases == ["a", "b"]
    with pytest.raises(UserError, match=r"every image of results\.csv; 1 missing, such as c"):
        read_predictions(path, ["b", "c"])
    unpack = mock.patch.object(np, "unpackbits", side_effect=AssertionError("read"))
    with unpack, pytest.raises(UserError, match=r"the 1 images of results\.csv, got 2"):
        read_predictions(path, ["a"])


@pytest.mark.parametrize(
    ("masks_shape", "size"),
    [((1, 10**7, 10**6), 0), ((10**9, 64, 8), 0), ((1, 64, 8), 10**8)],
)
def test_a_bomb_is_rejected_before_it_is_decompressed(tmp_path: Path, masks_shape: tuple[int, ...], size: int) -> None:
    path = tmp_path / "predictions.npz"
    np.savez(path, cases=np.array(["a"]))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("masks.npy", "w") as file:
        file.write(header(masks_shape))
        file.write(bytes(size))
    unpack = mock.patch.object(np, "unpackbits", side_effect=AssertionError("read"))
    with unpack, pytest.raises(UserError, match=r"predictions\.npz: damaged"):
        read_predictions(path)
