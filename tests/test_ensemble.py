"""Loading of checkpoints as an ensemble, and averaging over networks and flips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor, nn

from mammoseg.build import build_segmenter
from mammoseg.conf import conf_dir
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.ensemble import Ensemble, load_ensemble, load_network, select_device
from mammoseg.errors import UserError
from mammoseg.runs import checkpoint
from mammoseg.runs.settings import public

SETTINGS = PreprocessingSettings(size=32)
CPU = torch.device("cpu")


class Slope(nn.Module):
    """Logits that increase to the right, less so downwards, and with the image."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, image: Tensor) -> Tensor:
        rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
        return self.gain * (columns / 8 + rows / 50 - 2) + image


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def slope(gain: float) -> np.ndarray:
    rows, columns = np.mgrid[:32, :32]
    return np.asarray(gain * (columns / 8 + rows / 50 - 2))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((3, 32, 32)).astype(np.float32)


def test_ensemble_returns_mean_and_std_over_networks(images: np.ndarray) -> None:
    mean, std = Ensemble([Slope(1), Slope(-0.5)], SETTINGS, 0.5, False, CPU)(images)
    member_probs = np.stack([sigmoid(slope(gain) + images) for gain in (1, -0.5)])
    np.testing.assert_allclose(mean, member_probs.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, member_probs.std(axis=0), atol=1e-6)


def test_tta_returns_mean_and_std_over_flips(images: np.ndarray) -> None:
    ensemble = Ensemble([Slope(1)], SETTINGS, 0.5, True, CPU)
    assert ensemble.members == 4
    mean, std = ensemble(images)
    logits = slope(1)
    member_probs = [
        sigmoid(flipped + images) for flipped in (logits, logits[:, ::-1], logits[::-1], logits[::-1, ::-1])
    ]
    np.testing.assert_allclose(mean, np.mean(member_probs, axis=0), rtol=1e-5)
    np.testing.assert_allclose(std, np.std(member_probs, axis=0), atol=1e-6)


def test_tta_omits_horizontal_flips_if_all_breasts_are_on_one_side(images: np.ndarray) -> None:
    one_sided = PreprocessingSettings(**{**SETTINGS.__dict__, "flip": "left"})
    ensemble = Ensemble([Slope(1)], one_sided, 0.5, True, CPU)
    assert ensemble.members == 2
    member_probs = [sigmoid(flipped + images) for flipped in (slope(1), slope(1)[::-1])]
    np.testing.assert_allclose(ensemble(images)[0], np.mean(member_probs, axis=0), rtol=1e-5)


def test_std_of_a_single_member_is_0(images: np.ndarray) -> None:
    ensemble = Ensemble([Slope(1)], SETTINGS, 0.5, False, CPU)
    assert ensemble.members == 1
    assert not ensemble(images)[1].any()


def test_diverged_network_raises(images: np.ndarray) -> None:
    with pytest.raises(UserError, match="not a number"):
        Ensemble([Slope(float("nan"))], SETTINGS, 0.5, False, CPU)(images)


def save_checkpoint(path: Path, *overrides: str, threshold: float = 0.5, remove_weight: bool = False) -> Path:
    """Save a checkpoint of an untrained network."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", ["dataset=phantom", "width=2", "dataset.size=64", f"threshold={threshold}", *overrides])
    torch.manual_seed(len(path.name))
    state = build_segmenter(cfg).state_dict()
    if remove_weight:
        del state[next(name for name in state if name.startswith("net."))]
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    torch.save({checkpoint.PROVENANCE_KEY: {"config": public(plain), "about": {}}, "state_dict": state}, path)
    return path


def load(*paths: Path, **options: Any) -> Ensemble:
    return load_ensemble(paths, **{"tta": False, "threshold": None, "accelerator": "cpu", **options})


def test_preprocessing_and_threshold_come_from_the_checkpoint(tmp_path: Path) -> None:
    path = save_checkpoint(
        tmp_path / "a", "dataset.flip=left", "dataset.aspect=pad", "dataset.normalise=zscore", threshold=0.3
    )
    ensemble = load(path)
    assert ensemble.settings == PreprocessingSettings(size=64, crop=True, aspect="pad", normalise="zscore", flip="left")
    assert ensemble.threshold == 0.3
    assert load(path, threshold=0.7).threshold == 0.7


def test_load_network_restores_the_weights(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "a")
    network = load_network(checkpoint.load_checkpoint(path), path)
    assert not network.training
    stored = checkpoint.load_checkpoint(path)["state_dict"]
    weights = network.state_dict()
    assert set(weights) == {name.removeprefix("net.") for name in stored if name.startswith("net.")}
    assert all(torch.equal(value, stored[f"net.{name}"]) for name, value in weights.items())


def test_checkpoints_with_different_settings_raise(tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path / "a")
    with pytest.raises(UserError, match=r"dataset\.crop=none.*same preprocessing"):
        load(first, save_checkpoint(tmp_path / "b", "dataset.crop=none"))
    other = save_checkpoint(tmp_path / "c", threshold=0.4)
    with pytest.raises(UserError, match="must have the same threshold"):
        load(first, other)
    assert load(first, other, threshold=0.5).members == 2
    assert load(first, save_checkpoint(tmp_path / "d", "model=unet")).members == 2, (
        "the networks of an ensemble may differ"
    )


def test_weights_of_another_network_raise(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"AUNet.*checkpoint as written"):
        load(save_checkpoint(tmp_path / "a", remove_weight=True))
    unet, au_net = (torch.load(save_checkpoint(tmp_path / name, f"model={name}")) for name in ("unet", "au_net"))
    torch.save({**unet, "state_dict": au_net["state_dict"]}, tmp_path / "mixed")
    with pytest.raises(UserError, match="do not match the network"):
        load(tmp_path / "mixed")


def test_select_device_returns_the_available_device_or_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert select_device("auto") == CPU
    with pytest.raises(UserError, match="accelerator=cpu"):
        select_device("gpu")
    with pytest.raises(UserError, match="must be one of auto, cpu, gpu"):
        select_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert select_device("auto").type == "cuda"
    assert select_device("cpu") == CPU
