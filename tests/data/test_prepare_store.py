"""Prepared stores: names that are stable between versions, stores of the previous format, invalid settings."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mammoseg.data.dataset import DatasetSpec, build_dataset
from mammoseg.data.preprocessing import cache
from mammoseg.data.readers.inbreast import read
from mammoseg.data.store import RENAMED_COLUMNS
from mammoseg.errors import UserError
from mammoseg.phantom.write import write_inbreast

OTHER_SETTINGS = {
    **{"size": 64, "crop": False, "aspect": "pad", "normalise": "zscore", "flip": "left"},
    **{"density": "estimated", "missing_density": 3, "density_cuts": [0.1, 0.2, 0.3]},
}
NEW_COLUMNS = ("mask_labels", "mass_in_breast")  # since version 0.2


def phantom_dataset(root: Path) -> DatasetSpec:
    return build_dataset("d", str(root / "data"), read, size=32, store=str(root / "store"), workers=1)


def without_new_columns(table: str) -> str:
    rows = [line.split(",") for line in table.splitlines()]
    return "".join(",".join(row[: -len(NEW_COLUMNS)]) + "\n" for row in rows)


def with_columns_of_version_0_1(text: str) -> str:
    for old, new in RENAMED_COLUMNS.items():
        text = text.replace(new, old)
    return text


def test_a_store_of_version_0_1_is_opened(tmp_path: Path) -> None:
    write_inbreast(tmp_path / "data", cases=8, height=128)
    store = phantom_dataset(tmp_path).open_store()
    table = store.folder / "cases.csv"
    current = table.read_text()
    assert current.splitlines()[0].endswith(",".join(NEW_COLUMNS))
    table.write_text(with_columns_of_version_0_1(without_new_columns(current)))
    assert (
        table.read_text()
        .splitlines()[0]
        .endswith("breast_share,height,width,top,bottom,left,right,whole,flipped,rescaled")
    )
    reopened = phantom_dataset(tmp_path).open_store()
    assert reopened.folder == store.folder
    assert reopened.cases == store.cases


def test_a_damaged_cache_file_is_prepared_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_inbreast(tmp_path / "data", cases=8, height=128)
    expected = phantom_dataset(tmp_path).open_store()
    shutil.rmtree(tmp_path / "store")
    fill = cache.PreprocessingCache.fill

    def fill_and_damage(self: cache.PreprocessingCache, *args: Any) -> dict[str, str]:
        reasons = fill(self, *args)
        first, second, *_ = sorted(self.folder.glob("*.npz"))
        first.write_bytes(first.read_bytes()[:200])
        np.savez(second, images=np.zeros(2))  # without the other arrays
        return reasons

    monkeypatch.setattr(cache.PreprocessingCache, "fill", fill_and_damage)
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
