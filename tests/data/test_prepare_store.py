"""Prepared stores: names that are stable between versions, stores of the previous format, invalid settings."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mammoseg.data.dataset import DatasetSpec, build_dataset
from mammoseg.data.preprocessing import cache
from mammoseg.data.preprocessing.fingerprints import cache_key
from mammoseg.data.readers.inbreast import read
from mammoseg.data.readers.mammogram import Mammogram, RejectedCases
from mammoseg.data.store import RENAMED_COLUMNS
from mammoseg.density import ACRDensity
from mammoseg.errors import UserError
from mammoseg.phantom.write import write_inbreast

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
    ("reason", "original"),
    [
        (
            "rows of the image have different densities (1, 2); fix the table",
            "its rows have several densities (1, 2); mend the table",
        ),
        (
            "density must be an ACR category 1 to 4, got '7'; fix the table",
            "density '7' is no ACR category 1-4; mend the table",
        ),
        (
            "density must be an ACR category 1 to 4 or blank, got x\ny",
            "density x\ny is no ACR category 1-4; leave it blank if it is unknown",
        ),
        (
            "ACR in INbreast.csv must be 1 to 4 or blank, got '5'",
            "ACR '5' in INbreast.csv is no density 1-4; mend it or leave the cell blank",
        ),
        (
            "second file of case 22678622, the first is AllDICOMs/a.dcm; remove one",
            "a second file of 22678622 beside AllDICOMs/a.dcm; remove one",
        ),
        ("case a is already defined in an earlier line", "case a stands in an earlier line already"),
        ("split must be train, val, test or blank, got all", "split all is none of train, val, test"),
        ("masses must be a non-negative integer, got many", "masses many is no whole number"),
        ("column image is blank", "column image is blank"),
    ],
)
def test_the_fingerprint_does_not_depend_on_the_wording_of_reasons(tmp_path: Path, reason: str, original: str) -> None:
    builder = build_dataset("d", str(tmp_path), lambda *_: []).builder
    names = {builder.fingerprint({}, RejectedCases([("a", text)])) for text in (reason, original)}
    assert len(names) == 1
    assert names != {builder.fingerprint({}, RejectedCases([("a", "another reason")]))}


def phantom_dataset(root: Path) -> DatasetSpec:
    return build_dataset("d", str(root / "data"), read, size=32, store=str(root / "store"), workers=1)


def with_columns_of_version_0_1(text: str) -> str:
    for old, new in RENAMED_COLUMNS.items():
        text = text.replace(new, old)
    return text


def test_a_store_of_version_0_1_is_opened(tmp_path: Path) -> None:
    write_inbreast(tmp_path / "data", cases=8, height=128)
    store = phantom_dataset(tmp_path).open_store()
    table = store.folder / "cases.csv"
    current = table.read_text()
    table.write_text(with_columns_of_version_0_1(current))
    assert (
        table.read_text()
        .splitlines()[0]
        .endswith("breast_share,height,width,top,bottom,left,right,whole,flipped,rescaled")
    )
    reopened = phantom_dataset(tmp_path).open_store()
    assert reopened.folder == store.folder
    assert reopened.cases == store.cases


def test_a_cache_of_version_0_1_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_inbreast(tmp_path / "data", cases=8, height=128)
    expected = phantom_dataset(tmp_path).open_store()
    shutil.rmtree(tmp_path / "store")
    encoder = SimpleNamespace(dumps=lambda row: with_columns_of_version_0_1(json.dumps(row)), loads=json.loads)
    monkeypatch.setattr(cache, "json", encoder)
    assert phantom_dataset(tmp_path).open_store().cases == expected.cases


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("aspect", "squeeze"), ("normalise", "log"), ("flip", "up"), ("density", "guessed"), ("on_error", "ignore")),
        *(("missing_density", 5), ("missing_density", "skip"), ("density_cuts", [0.3, 0.2, 0.5])),
        *(("size", 100), ("size", 0), ("workers", 0)),
    ],
)
def test_an_invalid_setting_is_an_error(setting: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"dataset\.{setting} must be .*, got "):
        build_dataset("d", "root", lambda *_: [], **{setting: value})
