"""Checkpoints give back their networks and preparation; mirrored images and ensembles are averaged as by hand."""

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
from mammoseg.cli import conf_dir
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.ensemble import Ensemble, load_ensemble, load_network, select_device
from mammoseg.errors import UserError
from mammoseg.runs import checkpoint
from mammoseg.runs.settings import public

SETTINGS = PreprocessingSettings(size=32)
CPU = torch.device("cpu")


class Slope(nn.Module):
    """Logits that rise to the right and, less so, downwards, whatever the image is, and with the image."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, image: Tensor) -> Tensor:
        down, across = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
        return self.gain * (across / 8 + down / 50 - 2) + image


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def slope(gain: float) -> np.ndarray:
    down, across = np.mgrid[:32, :32]
    return gain * (across / 8 + down / 50 - 2)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).random((3, 32, 32)).astype(np.float32)


def test_several_networks_by_hand(images: np.ndarray) -> None:
    mean, deviation = Ensemble([Slope(1), Slope(-0.5)], SETTINGS, 0.5, False, CPU)(images)
    opinions = np.stack([sigmoid(slope(gain) + images) for gain in (1, -0.5)])
    np.testing.assert_allclose(mean, opinions.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(deviation, opinions.std(axis=0), atol=1e-6)


def test_mirrored_images_by_hand(images: np.ndarray) -> None:
    ensemble = Ensemble([Slope(1)], SETTINGS, 0.5, True, CPU)
    assert ensemble.members == 4
    mean, deviation = ensemble(images)
    rise = slope(1)
    opinions = [sigmoid(turned + images) for turned in (rise, rise[:, ::-1], rise[::-1], rise[::-1, ::-1])]
    np.testing.assert_allclose(mean, np.mean(opinions, axis=0), rtol=1e-5)
    np.testing.assert_allclose(deviation, np.std(opinions, axis=0), atol=1e-6)


def test_a_network_that_never_saw_the_other_side_is_not_asked_about_it(images: np.ndarray) -> None:
    one_sided = PreprocessingSettings(**{**SETTINGS.__dict__, "flip": "left"})
    ensemble = Ensemble([Slope(1)], one_sided, 0.5, True, CPU)
    assert ensemble.members == 2
    opinions = [sigmoid(turned + images) for turned in (slope(1), slope(1)[::-1])]
    np.testing.assert_allclose(ensemble(images)[0], np.mean(opinions, axis=0), rtol=1e-5)


def test_one_opinion_has_no_deviation(images: np.ndarray) -> None:
    ensemble = Ensemble([Slope(1)], SETTINGS, 0.5, False, CPU)
    assert ensemble.members == 1
    assert not ensemble(images)[1].any()


def test_a_network_that_has_diverged_is_told(images: np.ndarray) -> None:
    with pytest.raises(UserError, match="not a number"):
        Ensemble([Slope(float("nan"))], SETTINGS, 0.5, False, CPU)(images)


def save(path: Path, *overrides: str, threshold: float = 0.5, spoil: bool = False) -> Path:
    """A checkpoint of a network that was not trained."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", ["dataset=phantom", "width=2", "dataset.size=64", f"threshold={threshold}", *overrides])
    torch.manual_seed(len(path.name))
    state = build_segmenter(cfg).state_dict()
    if spoil:
        del state[next(name for name in state if name.startswith("net."))]
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    torch.save({checkpoint.PROVENANCE_KEY: {"config": public(plain), "about": {}}, "state_dict": state}, path)
    return path


def load(*paths: Path, **options: Any) -> Ensemble:
    return load_ensemble(paths, **{"tta": False, "threshold": None, "accelerator": "cpu", **options})


def test_preparation_and_threshold_come_from_the_checkpoint(tmp_path: Path) -> None:
    path = save(tmp_path / "a", "dataset.flip=left", "dataset.aspect=pad", "dataset.normalise=zscore", threshold=0.3)
    ensemble = load(path)
    assert ensemble.settings == PreprocessingSettings(size=64, crop=True, aspect="pad", normalise="zscore", flip="left")
    assert ensemble.threshold == 0.3
    assert load(path, threshold=0.7).threshold == 0.7


def test_the_network_is_the_one_that_was_saved(tmp_path: Path) -> None:
    path = save(tmp_path / "a")
    network = load_network(checkpoint.load_checkpoint(path), path)
    assert not network.training
    stored = checkpoint.load_checkpoint(path)["state_dict"]
    weights = network.state_dict()
    assert set(weights) == {name.removeprefix("net.") for name in stored if name.startswith("net.")}
    assert all(torch.equal(value, stored[f"net.{name}"]) for name, value in weights.items())


def test_checkpoints_that_do_not_go_together(tmp_path: Path) -> None:
    first = save(tmp_path / "a")
    with pytest.raises(UserError, match=r"dataset\.crop=False.*one preparation"):
        load(first, save(tmp_path / "b", "dataset.crop=false"))
    other = save(tmp_path / "c", threshold=0.4)
    with pytest.raises(UserError, match="different thresholds"):
        load(first, other)
    assert load(first, other, threshold=0.5).members == 2
    assert load(first, save(tmp_path / "d", "model=unet")).members == 2, "networks of one ensemble may differ"


def test_weights_of_another_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"AUNet.*as training wrote it"):
        load(save(tmp_path / "a", spoil=True))
    unet, au_net = (torch.load(save(tmp_path / name, f"model={name}")) for name in ("unet", "au_net"))
    torch.save({**unet, "state_dict": au_net["state_dict"]}, tmp_path / "mixed")
    with pytest.raises(UserError, match="not those of the network"):
        load(tmp_path / "mixed")


def test_a_gpu_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
