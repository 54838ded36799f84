"""Folder of masks that another program predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mammoseg.data.exported_cases import ExportedCase, read_case_names, write_case_names
from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError
from mammoseg.evaluate.mask_folder import check_files, read_masks_of
from mammoseg.predict.prediction_images import encode_png


def test_suffixes_may_be_in_capitals(tmp_path: Path) -> None:
    expected = np.random.default_rng(0).integers(0, 2, (2, 8, 8)).astype(np.uint8)
    for name, mask in zip(("a.PNG", "b.png"), expected, strict=True):
        (tmp_path / name).write_bytes(encode_png(mask))
    store = PreparedStore(tmp_path, np.zeros((2, 8, 8), np.float32), expected, expected, [], {})
    names = {0: "a", 1: "b"}
    check_files(tmp_path, names, store, "test")
    np.testing.assert_array_equal(list(read_masks_of(tmp_path, names, store)), expected == 1)


def test_masks_with_a_palette_are_rejected(tmp_path: Path) -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[2:4, 2:4] = 1
    image = Image.fromarray(mask).convert("P")
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(tmp_path / "a.png")
    store = PreparedStore(tmp_path, np.zeros((1, 8, 8), np.float32), mask[None], mask[None], [], {})
    with pytest.raises(
        UserError, match=r"a\.png: the mask must be a greyscale image with the values 0 and 1, got .*palette"
    ):
        list(read_masks_of(tmp_path, {0: "a"}, store))


def test_case_names_may_have_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "case_names.csv"
    cases = [ExportedCase("inbreast_00000", "20586908", "p1", "test", "0123")]
    write_case_names(path, cases)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_case_names(path) == cases
