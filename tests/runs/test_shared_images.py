"""Datasets that a run shares with the training of its initial weights."""

from __future__ import annotations

from typing import Any

import pytest

from mammoseg.runs.shared_images import IMAGE_SETTINGS, OFFICIAL_SPLIT, SPLIT_OF_UNIONS, datasets_split_differently

K_FOLD = "mammoseg.data.split.PatientKFold"


def config(
    name: str = "cbis_ddsm", split: str = K_FOLD, fold: int = 0, reader: str = "cbis_ddsm.read"
) -> dict[str, Any]:
    dataset = {"name": name, "root": "/data", "reader": {"_target_": reader}}
    return {"dataset": dataset, "split": {"_target_": split, "fold": fold}}


def union(fold: int = 0) -> dict[str, Any]:
    readers = {name: {"reader": {"_target_": f"{name}.read"}} for name in ("cbis_ddsm", "inbreast")}
    return {
        "dataset": {"name": "union", "reader": {"sources": readers}},
        "split": {"_target_": SPLIT_OF_UNIONS, "fold": fold},
    }


@pytest.mark.parametrize(
    ("initial", "run", "expected"),
    [
        (config(), config(), []),
        (config(), config(name="inbreast"), []),
        (config(split=OFFICIAL_SPLIT), config(split=OFFICIAL_SPLIT, reader="image_folder.read"), []),
        (config(split=OFFICIAL_SPLIT), union(), []),
        (union(), config(split=OFFICIAL_SPLIT, reader="image_folder.read"), []),
        (union(), union(), []),
        (union(), config(name="inbreast", split=SPLIT_OF_UNIONS, reader="inbreast.read"), []),
        (config(), config(fold=1), ["cbis_ddsm"]),
        (config(), config(reader="image_folder.read"), ["cbis_ddsm"]),
        (config(split=OFFICIAL_SPLIT), config(), ["cbis_ddsm"]),
        (config(), union(), ["cbis_ddsm"]),
        (union(), config(name="inbreast"), ["inbreast"]),
        (union(), config(name="inbreast", split=SPLIT_OF_UNIONS, reader="image_folder.read"), ["inbreast"]),
        (union(), union(fold=1), ["cbis_ddsm", "inbreast", "union"]),
    ],
)
def test_datasets_with_another_split_are_found(
    initial: dict[str, Any], run: dict[str, Any], expected: list[str]
) -> None:
    assert datasets_split_differently(initial, run) == expected


def test_settings_of_earlier_versions_have_their_default() -> None:
    current = config()
    current["dataset"] |= IMAGE_SETTINGS
    assert datasets_split_differently(config(), current) == []
    current["dataset"]["density_model"] = "0" * 64
    assert datasets_split_differently(config(), current) == ["cbis_ddsm"]
