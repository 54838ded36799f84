"""Checkpoints of version 0.1 can be loaded, reproduce the results of their run, and predict."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import get_method, instantiate

from mammoseg.data.images.read import read_image
from mammoseg.ensemble import load_ensemble
from mammoseg.evaluate.evaluate import evaluate
from mammoseg.evaluate.tested_dataset import EvaluationOptions
from mammoseg.phantom.write import write_inbreast
from mammoseg.predict import pipeline
from mammoseg.predict.options import PredictOptions
from mammoseg.runs import results, upgrade
from mammoseg.runs.settings import flatten
from mammoseg.schema import renamed

V0_1 = Path(__file__).parents[1] / "fixtures" / "v0_1"
# Each `_target_` that a checkpoint of version 0.1 can contain, with its arguments; from the conf/ of version 0.1.
TARGETS: dict[str, list[str]] = {
    "mammoseg.data.dataset.Dataset": [
        *("size", "crop", "aspect", "normalise", "flip", "density", "missing_density", "density_cuts", "on_bad"),
        *("store", "workers", "on_device", "published", "remark", "name", "root", "reader", "source"),
    ],
    "mammoseg.data.cbis_ddsm.read": ["tables"],
    "mammoseg.data.folder.read": [],
    "mammoseg.data.inbreast.read": ["lesions"],
    "mammoseg.phantom.write.write_inbreast": ["cases", "seed", "height"],
    "mammoseg.data.split.ImageKFold": ["folds", "fold", "seed"],
    "mammoseg.data.split.PatientKFold": ["folds", "fold", "seed"],
    "mammoseg.data.split.Official": ["val_share", "seed"],
    "mammoseg.data.augment.Augmentation": ["transforms"],
    "albumentations.HorizontalFlip": ["p"],
    "albumentations.VerticalFlip": ["p"],
    "albumentations.Affine": ["scale", "rotate", "p"],
    "mammoseg.models.au_net.AUNet": ["width", "in_channels", "out_channels", "checkpointing"],
    "mammoseg.models.unet.UNet": ["width", "in_channels", "out_channels"],
    "mammoseg.models.arf_net.ARFNet": ["width", "in_channels", "out_channels", "places", "dilations", "reduction"],
    "mammoseg.models.monai.attention_unet": ["width"],
    "mammoseg.models.monai.dyn_unet": ["width", "norm_name", "res_block"],
    "mammoseg.models.monai.swin_unetr": ["width", "depths", "num_heads", "window_size"],
    "mammoseg.models.monai.unet_plus_plus": ["width", "norm"],
    "mammoseg.losses.ASP": ["alpha", "beta", "dice", "priority"],
    "mammoseg.losses.BCE": ["positive", "negative"],
    "mammoseg.losses.ByDensity": ["theta", "terms"],
    "mammoseg.losses.ByRatio": ["grouping", "table"],
    "mammoseg.losses.Criterion": ["terms", "weights", "priority"],
    "mammoseg.losses.DensityASP": ["theta", "alpha", "beta", "eta", "gamma", "dice", "rmi", "ssim"],
    "mammoseg.losses.Dice": ["factor"],
    "mammoseg.losses.HybridPixel": ["alpha", "beta", "dice"],
    "mammoseg.losses.HybridRegion": ["eta", "gamma", "rmi", "ssim"],
    "mammoseg.losses.LearnedByRatio": ["terms", "span"],
    "mammoseg.losses.PerSample": ["loss", "input"],
    "mammoseg.losses.RMI": ["radius", "pool", "stride", "bce_weight"],
    "mammoseg.losses.SSIM": ["window_size", "padding"],
    "mammoseg.losses.SSL": ["window_size", "sigma", "c", "share"],
    "monai.losses.AsymmetricUnifiedFocalLoss": ["weight", "gamma", "delta"],
    "monai.losses.BoundaryLoss": ["sigmoid"],
    "monai.losses.FocalLoss": ["gamma", "alpha"],
    "monai.losses.GeneralizedDiceLoss": ["sigmoid"],
    "monai.losses.HausdorffDTLoss": ["include_background", "sigmoid"],
    "monai.losses.TverskyLoss": ["sigmoid", "alpha", "beta"],
    "lightning.Trainer": [
        *("max_epochs", "accelerator", "devices", "precision", "gradient_clip_val", "num_sanity_val_steps"),
        *("log_every_n_steps", "enable_model_summary", "enable_progress_bar"),
        *("strategy", "sync_batchnorm", "use_distributed_sampler"),
    ],
    "torch.optim.Adam": ["lr", "fused"],
    "torch.optim.lr_scheduler.StepLR": ["step_size", "gamma"],
}


@pytest.mark.parametrize("target", TARGETS)
def test_every_stored_target_resolves_and_accepts_its_arguments(target: str) -> None:
    stored = {"_target_": target, **dict.fromkeys(TARGETS[target])}
    upgraded = upgrade.upgrade_config(stored)
    function = get_method(upgraded.pop("_target_"))
    # Readers and generators are partial: their first arguments are passed later.
    inspect.signature(function).bind_partial(**upgraded)


@pytest.mark.parametrize("target", renamed.ADDED_ARGUMENTS)
def test_added_arguments_are_upgraded_to_their_values_in_earlier_versions(target: str) -> None:
    added = renamed.ADDED_ARGUMENTS[target]
    assert set(added) <= set(inspect.signature(get_method(target)).parameters)
    assert upgrade.upgrade_config({"split": {"_target_": target}})["split"] == {"_target_": target, **added}
    current = {"_target_": target, **dict.fromkeys(added, "value")}
    assert upgrade.upgrade_config(current) == current


def test_networks_are_built_from_their_stored_arguments() -> None:
    stored = {"width": 1, "in_channels": 1, "out_channels": 1}
    au_net = {"_target_": "mammoseg.models.au_net.AUNet", **stored, "checkpointing": True}
    assert instantiate(upgrade.upgrade_config(au_net)).gradient_checkpointing
    for name in ("unet.UNet", "arf_net.ARFNet"):
        instantiate(upgrade.upgrade_config({"_target_": f"mammoseg.models.{name}", **stored}))


def test_renamed_settings_and_values_are_upgraded() -> None:
    dataset = {"_target_": "mammoseg.data.dataset.Dataset", "on_bad": "error", "remark": "text"}
    upgraded = upgrade.upgrade_config({"dataset": dataset, "trial": 3, "decay_every": 8})
    assert upgraded.pop("dataset") == {
        "_target_": "mammoseg.data.dataset.build_dataset",
        "on_error": "raise",
        "note": "text",
        "negatives": "none",
    }
    assert upgraded == {"trial_number": 3, "lr_decay_epochs": 8}
    assert upgrade.upgrade_config(upgraded) == upgraded


def test_nested_configs_are_upgraded() -> None:
    node: dict[str, Any] = {"_target_": "mammoseg.models.unet.UNet", "in_channels": 1, "width": 2}
    upgraded = upgrade.upgrade_config({"parts": [node, 3], "in_channels": 7})
    assert upgraded == {"parts": [{"_target_": "mammoseg.models.unet.UNet", "width": 2}, 3], "in_channels": 7}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of the stored run, generated from the same seed."""
    root = tmp_path_factory.mktemp("v0_1") / "phantom"
    write_inbreast(root, cases=30, seed=0, height=208, appearance="simple")
    return root


def test_evaluation_reproduces_the_counts_of_the_run(phantom: Path, tmp_path: Path) -> None:
    options = EvaluationOptions(dataset={"root": str(phantom), "store": str(phantom.parent / "prepared")})
    evaluate([V0_1 / "best.ckpt"], tmp_path, options)
    expected, rows = (results.read_results(folder / "results.csv") for folder in (V0_1, tmp_path))
    names = ("case", "patient", "density", *results.COUNTS)
    assert [[row[name] for name in names] for row in rows] == [[row[name] for name in names] for row in expected]


def test_the_ensemble_reproduces_the_probabilities_of_the_run(phantom: Path) -> None:
    """The run stored the probabilities of its test images, quantised to 256 levels."""
    ensemble = load_ensemble([V0_1 / "best.ckpt"], tta=False, threshold=None, accelerator="cpu")
    assert (ensemble.settings.size, ensemble.threshold) == (64, 0.5)
    stored = np.load(V0_1 / "predictions.npz")
    for case, levels in zip(stored["cases"], stored["levels"], strict=True):
        (file,) = (phantom / "AllDICOMs").glob(f"{case}_*.dcm")
        prob, _ = ensemble(ensemble.prepare(read_image(file)[0]).image[None])
        np.testing.assert_allclose(prob[0], (levels + 0.5) / 256, atol=1 / 256)


def test_predict_writes_a_mask_of_the_size_of_the_image(phantom: Path, tmp_path: Path) -> None:
    image = min((phantom / "AllDICOMs").iterdir())
    options = PredictOptions(tta=False, threshold=None, segmentation="none", accelerator="cpu", batch_size=1, workers=1)
    pipeline.predict([V0_1 / "best.ckpt"], image, tmp_path / "predictions", options)
    (mask,) = (tmp_path / "predictions" / "masks").iterdir()
    assert read_image(mask)[0].shape == read_image(image)[0].shape


@pytest.mark.parametrize(
    ("override", "upgraded"),
    [
        ("model.checkpointing=true", "model.gradient_checkpointing=true"),
        ("++scheduler.gamma=0.5", "++scheduler.scheduler.gamma=0.5"),
        ("model.in_channels=1", None),
        ("loss.alpha=1", "loss.alpha=1"),
    ],
)
def test_stored_overrides_are_upgraded(override: str, upgraded: str | None) -> None:
    assert renamed.upgrade_override(override) == upgraded


def test_changed_defaults_of_a_stored_run_are_kept() -> None:
    stored = {"loss": {"terms": {"generalized_dice": {"_target_": "mammoseg.losses.PerSample", "loss": {}}}}}
    flat = dict(flatten(upgrade.upgrade_config(stored)))
    assert renamed.earlier_defaults(flat) == {"loss.terms.generalized_dice.empty_mask": "null"}
    with_term = {**flat, "loss.terms.generalized_dice.empty_mask": "mammoseg.losses.Dice"}
    assert renamed.earlier_defaults(with_term) == {}
    assert renamed.earlier_defaults({"loss.terms.dice.factor": 2}) == {}
