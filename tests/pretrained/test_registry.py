"""Pretrained models: list, lookup by name, the default model, and the models of the package."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import mammoseg
from helpers.exported_models import CHECKPOINT, install_models
from mammoseg.errors import UserError
from mammoseg.exported_model import WEIGHTS_FILE
from mammoseg.pretrained import registry
from mammoseg.runs.checkpoint_paths import find_checkpoints, resolve_checkpoint


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of two pretrained models; the working directory is another, empty one."""
    install_models(tmp_path / "weights", monkeypatch, "small_net", "large_net")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "weights"


def test_models_are_listed_by_name_with_the_values_of_their_cards(models: Path) -> None:
    names = [model.name for model in registry.list_models()]
    assert names == ["large_net", "small_net"]
    network = mammoseg.load(CHECKPOINT, accelerator="cpu").ensemble.networks[0]
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    size = (models / "small_net" / WEIGHTS_FILE).stat().st_size
    summary = registry.find_model("small_net", "ckpt_path").summary()
    assert f"; {n_parameters:,} parameters; trained on phantom; not tested; {size / 1e6:.1f} MB" in summary


def test_a_name_is_resolved_to_the_weights_unless_a_path_has_this_name(models: Path) -> None:
    weights = models / "small_net" / WEIGHTS_FILE
    assert resolve_checkpoint("small_net") == weights
    assert find_checkpoints([Path("small_net"), Path("large_net")]) == [weights, models / "large_net" / WEIGHTS_FILE]
    Path("small_net").mkdir()
    with pytest.raises(UserError, match="ckpt_path=small_net: the folder has neither"):
        resolve_checkpoint("small_net")
    Path("large_net").touch()
    assert resolve_checkpoint("large_net") == Path("large_net")


def test_unknown_names_suggest_the_most_similar_model(models: Path) -> None:
    with pytest.raises(
        UserError, match=r"^init_from=smal_net: no such file, folder or pretrained model; did you mean small_net\?$"
    ):
        resolve_checkpoint("smal_net", "init_from")
    with pytest.raises(UserError, match=r"model; pretrained models are large_net, small_net$"):
        resolve_checkpoint("other")
    # paths are not names
    for path in ("best.ckpt", "model.safetensors", "runs/small_net", "./small_net"):
        assert resolve_checkpoint(path) == Path(path)


@pytest.mark.parametrize("exists", [True, False])
def test_without_models_names_and_the_default_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    monkeypatch.setattr(registry, "MODELS", tmp_path if exists else tmp_path / "absent")
    assert registry.list_models() == []
    with pytest.raises(UserError, match=r"ckpt_path=net: .*; no pretrained models are installed$"):
        resolve_checkpoint("net")
    with pytest.raises(UserError, match=r"checkpoint is required, since no pretrained models are installed"):
        mammoseg.load()


def test_the_default_model_is_loaded(models: Path) -> None:
    image = np.zeros((64, 48), np.uint8)
    cv2.circle(image, (0, 32), 30, 200, -1)
    probs = [
        predictor(image).prob
        for predictor in (
            mammoseg.load(accelerator="cpu"),
            mammoseg.load("small_net", accelerator="cpu"),
            mammoseg.Predictor.from_pretrained("large_net", accelerator="cpu"),
            mammoseg.load(CHECKPOINT, accelerator="cpu"),
        )
    ]
    assert probs[0].std() > 0
    assert all(np.array_equal(prob, probs[0]) for prob in probs)
    (models / registry.DEFAULT_FILE).write_text("removed_net")
    with pytest.raises(UserError, match=r"default\.txt=removed_net: no such pretrained model"):
        registry.default_model("ckpt_path")
    (models / registry.DEFAULT_FILE).unlink()
    with pytest.raises(UserError, match="no pretrained model is the default"):
        registry.default_model("ckpt_path")


def check_package(folder: Path) -> None:
    """Check that the pretrained models of a package are complete and that one of them is the default."""
    models = registry.list_models()
    assert {path.name for path in folder.glob("*/")} == {model.name for model in models}
    for model in models:
        model.verify()
        missing = {"description", "training_data", "parameters", "result"} - set(model.metadata)
        assert missing == set(), model.name
    if models:
        assert registry.default_model("ckpt_path").name in [model.name for model in models]


def test_the_models_of_the_package_are_complete() -> None:
    check_package(registry.MODELS)


def test_incomplete_packages_are_detected(models: Path) -> None:
    with pytest.raises(AssertionError, match="large_net"):  # the network of the tests has no test results
        check_package(models)
    (models / "large_net" / WEIGHTS_FILE).write_bytes(b"damaged")
    with pytest.raises(UserError, match="SHA-256"):
        check_package(models)
    (models / "large_net" / "README.md").write_text("# a network")
    with pytest.raises(UserError, match="must state the SHA-256 hash"):
        check_package(models)
    (models / "large_net" / WEIGHTS_FILE).unlink()
    with pytest.raises(AssertionError, match="large_net"):
        check_package(models)
