"""Warning if initial weights were trained on test images of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file

from mammoseg.models.efficientnet_unet import EfficientNetUNet
from mammoseg.pretrained.registry import default_model
from mammoseg.runs.checkpoint import stored_config
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.shared_images import OFFICIAL_SPLIT
from mammoseg.train.init_from import PREPROCESSING, InitialWeights, warn_about_shared_images

K_FOLD = "mammoseg.data.split.PatientKFold"


def make_cfg(dataset: str, split: str, **settings: str) -> DictConfig:
    unset = dict.fromkeys(("init_from", "encoder_weights", *PREPROCESSING))
    section: dict[str, Any] = {**dict.fromkeys(PREPROCESSING), "name": dataset, "reader": {}}
    return OmegaConf.create({"dataset": section, "split": {"_target_": split}, **unset, **settings})


@pytest.mark.parametrize("setting", ["init_from", "encoder_weights"])
@pytest.mark.parametrize(
    ("dataset", "split", "warns"),
    [("cbis_ddsm", K_FOLD, True), ("cbis_ddsm", OFFICIAL_SPLIT, False), ("inbreast", K_FOLD, False)],
)
def test_a_pretrained_model_is_trained_on_its_dataset_with_another_split(
    dataset: str, split: str, warns: bool, setting: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = make_cfg(dataset, split, **{setting: "efficientnet_unet_cbis_ddsm"})
    InitialWeights(cfg, RunFolder(tmp_path)).load_into(EfficientNetUNet())
    messages = [record.getMessage() for record in caplog.records]
    expected = f"{setting}: these weights were trained on CBIS-DDSM with another split, so test images of this run"
    assert [message.startswith(expected) for message in messages if "another split" in message] == [True] * warns


def test_the_initial_weights_of_initial_weights_are_compared(caplog: pytest.LogCaptureFixture) -> None:
    digest = default_model("init_from").metadata["sha256"]
    fine_tuned: Any = OmegaConf.to_container(make_cfg("inbreast", K_FOLD, init_from=digest))
    warn_about_shared_images("init_from", fine_tuned, make_cfg("cbis_ddsm", K_FOLD))
    assert "these weights were trained on CBIS-DDSM with another split" in caplog.text


def test_files_of_other_programs_have_no_config(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "encoder.pth")
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.yaml").write_text("depth: 18\n")
    assert stored_config(tmp_path / "encoder.pth") is None
    assert stored_config(tmp_path / "model.safetensors") is None
    stored = stored_config(default_model("init_from").weights)
    assert stored is not None
    assert stored["dataset"]["name"] == "cbis_ddsm"
