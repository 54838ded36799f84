"""Datasets that a run shares with the training of its initial weights."""

from __future__ import annotations

from typing import Any

import pytest

from mammoseg.runs.shared_images import OFFICIAL_SPLIT, datasets_split_differently

K_FOLD = "mammoseg.data.split.PatientKFold"


def config(
    name: str = "cbis_ddsm", split: str = K_FOLD, fold: int = 0, reader: str = "cbis_ddsm.read"
) -> dict[str, Any]:
    dataset = {"name": name, "root": "/data", "reader": {"_target_": reader}}
    return {"dataset": dataset, "split": {"_target_": split, "fold": fold}}


UNION = {"dataset": {"name": "union", "reader": {"sources": {"cbis_ddsm": {}, "inbreast": {}}}}, "split": {}}


@pytest.mark.parametrize(
    ("initial", "run", "expected"),
    [
        (config(), config(), []),
        (config(), config(name="inbreast"), []),
        (config(split=OFFICIAL_SPLIT), config(split=OFFICIAL_SPLIT, reader="image_folder.read"), []),
        (config(), config(fold=1), ["cbis_ddsm"]),
        (config(), config(reader="image_folder.read"), ["cbis_ddsm"]),
        (config(split=OFFICIAL_SPLIT), config(), ["cbis_ddsm"]),
        (config(split=OFFICIAL_SPLIT), UNION, ["cbis_ddsm"]),
        (UNION, config(name="inbreast"), ["inbreast"]),
    ],
)
def test_datasets_with_another_split_are_found(
    initial: dict[str, Any], run: dict[str, Any], expected: list[str]
) -> None:
    assert datasets_split_differently(initial, run) == expected
