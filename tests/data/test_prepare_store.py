"""Names of prepared stores: they must not change between versions, or every store would be prepared again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mammoseg.data.dataset import build_dataset
from mammoseg.data.preprocessing.fingerprints import cache_key
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError

OTHER_SETTINGS = {
    **{"size": 64, "crop": False, "aspect": "pad", "normalise": "zscore", "flip": "left"},
    **{"density": "estimated", "missing_density": 3, "density_cuts": [0.1, 0.2, 0.3]},
}


@pytest.mark.parametrize(
    ("settings", "fingerprint", "digest"),
    [
        ({}, "fc53bfdf23e955d5", "8dc50bd3be1b6e78"),
        (OTHER_SETTINGS, "a9f0a49c83ca6b7e", "a1882e472ffb145f"),
    ],  # computed by version 0.1
)
def test_the_fingerprint_is_that_of_version_0_1(
    tmp_path: Path, settings: dict[str, Any], fingerprint: str, digest: str
) -> None:
    for name in ("a.png", "m.png"):
        (tmp_path / name).write_bytes(b"content")
        os.utime(tmp_path / name, ns=(0, 1_700_000_000_123_456_789))
    from_masks = Mammogram(
        case="a",
        image_file=tmp_path / "a.png",
        patient="p",
        density=ACRDensity.SCATTERED,
        side="L",
        view="CC",
        mask_candidates=((tmp_path / "m.png",),),
        masks_verified=False,
        split="train",
        masses=2,
    )
    outline = np.array([[1.5, 2.0], [30.0, 2.0], [30.0, 40.25]])
    from_outlines = Mammogram("b", tmp_path / "absent.png", "q", outlines=(outline,))
    by_key = {cache_key(mammogram, tmp_path): mammogram for mammogram in (from_masks, from_outlines)}
    rejected = RejectedCases([("cases.csv line 4", "column image is blank")])
    builder = build_dataset("d", str(tmp_path), lambda *_: [], **settings).builder
    assert builder.fingerprint(by_key, rejected) == fingerprint
    assert builder.settings.digest == digest


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("aspect", "squeeze"), ("normalise", "log"), ("flip", "up"), ("density", "guessed"), ("on_error", "ignore")),
        *(("missing_density", 5), ("missing_density", "skip"), ("density_cuts", [0.3, 0.2, 0.5])),
        *(("size", 100), ("size", 0), ("workers", 0)),
    ],
)
def test_an_invalid_setting_is_named(setting: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"dataset\.{setting} must be .*, got "):
        build_dataset("d", "root", lambda *_: [], **{setting: value})
