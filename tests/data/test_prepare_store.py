"""Prepared stores: names that are stable between versions, stores of the previous format, invalid settings."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mammoseg.data.dataset import DatasetSpec, build_dataset
from mammoseg.data.preprocessing import cache
from mammoseg.data.preprocessing.density_model import default_density_model
from mammoseg.data.readers.inbreast import read
from mammoseg.data.store import RENAMED_COLUMNS
from mammoseg.errors import UserError
from mammoseg.phantom.write import write_inbreast

OTHER_SETTINGS = {
    **{"size": 64, "crop": False, "aspect": "pad", "normalise": "zscore", "flip": "left"},
    **{
        "density": "estimated",
        "missing_density": 3,
    },
}
NEW_COLUMNS = (  # since 0.2
    *("mask_labels", "mass_in_breast", "image_density_score", "density_score", "source"),
    *("spacing_mm", "acquisition", "mass_locations"),
)


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
    # The default is the same object, to which NaN is equal.
    nan = math.nan
    unknown = [
        replace(case, image_density_score=nan, density_score=nan, spacing_mm=None, acquisition="")
        for case in store.cases
    ]
    assert reopened.cases == unknown


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
        *(("missing_density", 5), ("missing_density", "skip")),
        *(("size", 100), ("size", 0), ("workers", 0)),
    ],
)
def test_an_invalid_setting_is_an_error(setting: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"dataset\.{setting} must be .*, got "):
        build_dataset("d", "root", lambda *_: [], **{setting: value})


def test_images_of_a_patient_have_the_mean_density_score(tmp_path: Path) -> None:
    write_inbreast(tmp_path / "data", cases=8, height=128)
    cases = phantom_dataset(tmp_path).open_store().cases
    assert len({case.patient for case in cases}) < len(cases)
    for case in cases:
        scores = [other.image_density_score for other in cases if other.patient == case.patient]
        assert case.density_score == pytest.approx(sum(scores) / len(scores), abs=1e-4)
        assert 1 <= min(scores) <= case.density_score <= max(scores) <= 4
        assert case.estimated_density in (math.floor(case.density_score + 0.5), math.ceil(case.density_score - 0.5))


def test_a_changed_density_model_gives_a_new_store(tmp_path: Path) -> None:
    write_inbreast(tmp_path / "data", cases=8, height=128)
    default = phantom_dataset(tmp_path).open_store()
    model = default_density_model()
    stores = []
    for offset in (0.0, 0.5):
        replace(model, intercept=model.intercept + offset).write(tmp_path / "data" / "model.json")
        dataset = build_dataset(
            "d",
            str(tmp_path / "data"),
            read,
            size=32,
            store=str(tmp_path / "store"),
            workers=1,
            density_model="model.json",
        )
        stores.append(dataset.open_store())
    assert stores[0].folder == default.folder
    assert stores[1].folder != default.folder
    for case, other in zip(stores[0].cases, stores[1].cases, strict=True):
        assert other.density_score > case.density_score or case.density_score == 4


@pytest.mark.parametrize("content", [None, "", "[]", '{"format": 2}', '{"format": 1, "features": {}, "about": {}}'])
def test_an_invalid_density_model_is_an_error(content: str | None, tmp_path: Path) -> None:
    write_inbreast(tmp_path / "data", cases=8, height=128)
    if content is not None:
        (tmp_path / "data" / "model.json").write_text(content)
    dataset = build_dataset("d", str(tmp_path / "data"), read, store=str(tmp_path), density_model="model.json")
    with pytest.raises(UserError, match=r"dataset\.density_model must be a file written by .*model\.json"):
        dataset.open_store()


@pytest.mark.parametrize("name", ["../model.json", "/tmp/model.json", ".."])
def test_a_density_model_outside_the_dataset_is_an_error(name: str, tmp_path: Path) -> None:
    default_density_model().write(tmp_path / "model.json")
    write_inbreast(tmp_path / "data", cases=8, height=128)
    dataset = build_dataset("d", str(tmp_path / "data"), read, store=str(tmp_path), density_model=name)
    with pytest.raises(UserError, match=r"dataset\.density_model must be "):
        dataset.open_store()
