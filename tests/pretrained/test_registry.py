"""Pretrained models: list, lookup by name, the default model, and the models of the package."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import mammoseg
from helpers.exported_models import CHECKPOINT, install_models
from mammoseg.errors import UserError
from mammoseg.exported_model import CARD_FILE, METADATA_KEY, WEIGHTS_FILE, format_card, read_card_metadata
from mammoseg.pretrained import registry
from mammoseg.runs.checkpoint_paths import find_checkpoints, resolve_checkpoint
from mammoseg.view.from_runs import load_run_views

MAX_SIZE = 10_000_000  # bytes


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
    assert f"; {n_parameters:,} parameters; trained on synthetic mammograms; not tested; {size / 1e6:.1f} MB" in summary


def test_a_name_is_resolved_to_the_weights_unless_a_path_has_this_name(models: Path) -> None:
    weights = models / "small_net" / WEIGHTS_FILE
    assert resolve_checkpoint("small_net") == weights
    assert find_checkpoints([Path("small_net"), Path("large_net")]) == [weights, models / "large_net" / WEIGHTS_FILE]
    Path("small_net").mkdir()
    with pytest.raises(UserError, match=r"ckpt_path=small_net: the folder has neither .*; rename it to use the"):
        resolve_checkpoint("small_net")
    Path("large_net").write_text("a file of another program")
    with pytest.raises(UserError, match="ckpt_path=large_net: the file is not a checkpoint; rename it to use the"):
        resolve_checkpoint("large_net")
    shutil.copyfile(CHECKPOINT, "large_net")
    assert resolve_checkpoint("large_net") == Path("large_net")


def test_unknown_names_suggest_the_most_similar_model(models: Path) -> None:
    with pytest.raises(
        UserError, match=r"^init_from=smal_net: no such file, folder or pretrained model; did you mean small_net\?$"
    ):
        resolve_checkpoint("smal_net", "init_from")
    with pytest.raises(UserError, match=r"model; did you mean large_net\?$"):
        resolve_checkpoint("LARGE_NET")
    for name in ("other", "other-1.5"):
        with pytest.raises(UserError, match=r"model; pretrained models are large_net, small_net$"):
            resolve_checkpoint(name)
    # paths are not names
    for path in ("best.ckpt", "model.safetensors", "resnet18.pth", "encoder.pt", "runs/small_net", "./small_net"):
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
    with pytest.raises(UserError, match=r"default\.txt names the model removed_net, which is not installed"):
        registry.default_model("ckpt_path")
    (models / registry.DEFAULT_FILE).unlink()
    with pytest.raises(UserError, match="no pretrained model is the default"):
        registry.default_model("ckpt_path")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("parameters", "many", "parameters must be an integer, got many"),
        ("parameters", True, "parameters must be an integer, got true"),
        ("description", ["a", "network"], r"description must be a line of text, got \[a, network\]"),
        ("training_data", "two\nlines", "training_data must be a line of text, got 'two lines'"),
        ("result", 70.1, r"result must be a line of text, got 70\.1"),
        ("sha256", None, "sha256 must be a line of text, got null"),
    ],
)
def test_damaged_model_cards_are_rejected(models: Path, name: str, value: object, message: str) -> None:
    card = models / "small_net" / CARD_FILE
    metadata = read_card_metadata(card)
    card.write_text(format_card({**metadata, METADATA_KEY: {**metadata[METADATA_KEY], name: value}}, "# small_net"))
    with pytest.raises(UserError, match=rf"README\.md: mammoseg\.{message}.*; install mammoseg again$"):
        resolve_checkpoint("small_net")
    assert resolve_checkpoint("large_net") == models / "large_net" / WEIGHTS_FILE


def test_a_model_without_a_card_is_rejected(models: Path) -> None:
    (models / "small_net" / CARD_FILE).unlink()
    for names in ([], ["small_net"]):  # the default model is small_net
        with pytest.raises(UserError, match=r"README\.md: must state the SHA-256 hash of model\.safetensors"):
            mammoseg.load(*names)


def test_a_pretrained_model_has_no_revision(models: Path) -> None:
    with pytest.raises(UserError, match=r"^revision must be None for small_net, .*, got main$"):
        mammoseg.Predictor.from_pretrained("small_net", revision="main")


def test_a_pretrained_model_has_no_results(models: Path) -> None:
    with pytest.raises(UserError, match=r"^runs=small_net: a pretrained model has no results; test it .*evaluate"):
        load_run_views([Path("small_net")], None)
    Path("predicted").mkdir()
    Path("predicted/predictions.json").touch()
    with pytest.raises(UserError, match=r"^runs=predicted: an output folder of .*predict.* predictions=predicted$"):
        load_run_views([Path("predicted")], None)


def check_package(folder: Path) -> None:
    """Check that the pretrained models of a package are complete and that one of them is the default."""
    models = registry.list_models()
    assert {path.name for path in folder.glob("*/")} == {model.name for model in models}
    for model in models:
        model.verify()
        missing = {"description", "training_data", "parameters", "result"} - set(model.metadata)
        assert missing == set(), model.name
        assert model.weights.stat().st_size < MAX_SIZE
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
