"""Warning if initial weights were trained on test images of the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from mammoseg.pretrained.registry import default_model
from mammoseg.runs.checkpoint import stored_config
from mammoseg.runs.shared_images import OFFICIAL_SPLIT
from mammoseg.train.init_from import warn_about_shared_images

K_FOLD = "mammoseg.data.split.PatientKFold"


@pytest.mark.parametrize("setting", ["init_from", "encoder_weights"])
@pytest.mark.parametrize(
    ("dataset", "split", "warns"),
    [("cbis_ddsm", K_FOLD, True), ("cbis_ddsm", OFFICIAL_SPLIT, False), ("inbreast", K_FOLD, False)],
)
def test_a_pretrained_model_is_trained_on_its_dataset_with_another_split(
    dataset: str, split: str, warns: bool, setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = OmegaConf.create({"dataset": {"name": dataset, "reader": {}}, "split": {"_target_": split}})
    warn_about_shared_images(setting, default_model(setting).weights, cfg)
    assert [record.getMessage() for record in caplog.records] == [
        f"{setting}: these weights were trained on CBIS-DDSM with another split, so test images of this run may be "
        "among their training images, and its results too high; use the same split, or other data"
    ] * warns


def test_files_of_other_programs_have_no_config(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "encoder.pth")
    assert stored_config(tmp_path / "encoder.pth") is None
    stored = stored_config(default_model("init_from").weights)
    assert stored is not None
    assert stored["dataset"]["name"] == "cbis_ddsm"
