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


def header(shape: tuple[int, ...]) -> bytes:
    return (
        np.lib.format.magic(1, 0)
        + bytes([118, 0])
        + (f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n").encode()
    )


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
