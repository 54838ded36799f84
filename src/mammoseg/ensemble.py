"""Inference with one or several checkpoints: preprocessing, test-time augmentation and ensembling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from numpy.typing import NDArray
from torch import Tensor, nn

from mammoseg import validate
from mammoseg.data.images.metadata import ImageMetadata
from mammoseg.data.input_range import ImageMeasures, InputRange
from mammoseg.data.preprocessing.preprocess import PreprocessedImage, preprocess
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.errors import UserError
from mammoseg.mean_network import flips_of, member_logits, mirrors_at_random
from mammoseg.runs import checkpoint

Maps = NDArray[np.float32]
ACCELERATORS = ("auto", "cpu", "gpu")


class Ensemble:
    """Ensemble of networks with the same preprocessing; predicts the mean probability over its members.

    Each combination of a network and a flip of the image is a member. Test-time augmentation flips the image
    horizontally, vertically and in both directions; predictions are flipped back. Horizontal flips are not used if
    `settings.flip` mirrors all breasts to one side, unless the training images were mirrored at random.

    Args:
        networks: Networks that map images (B, 1, size, size) to logits of the same shape.
        settings: Preprocessing of the networks' training images.
        threshold: Probability above which a pixel is mass.
        tta: Whether to use test-time augmentation.
        device: Device of the networks.
        input_range: Range of the training images; None if it is unknown.
        mirrored: Whether the training images were mirrored at random, see `flips_of`.

    Example:
        >>> import numpy as np, torch
        >>> ensemble = Ensemble([torch.nn.Identity()], PreprocessingSettings(size=16), 0.5, True, torch.device("cpu"))
        >>> ensemble.members
        4
        >>> prob, std = ensemble(np.zeros((1, 16, 16), np.float32))
        >>> (prob.shape, float(prob[0, 0, 0]), float(std[0, 0, 0]))
        ((1, 16, 16), 0.5, 0.0)
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        settings: PreprocessingSettings,
        threshold: float,
        tta: bool,
        device: torch.device,
        input_range: InputRange | None = None,
        mirrored: bool = False,
    ) -> None:
        self.networks = [network.eval().to(device) for network in networks]
        self.settings = settings
        self.threshold = threshold
        self.tta = tta
        self.device = device
        self.input_range = input_range
        self.flip_dims = flips_of(settings.flip, mirrored) if tta else [()]

    @property
    def members(self) -> int:
        """Number of predictions that are averaged per image; their standard deviation requires at least two."""
        return len(self.networks) * len(self.flip_dims)

    def prepare(self, pixels: NDArray[Any]) -> PreprocessedImage:
        """Preprocess an image with the settings of the networks.

        Args:
            pixels: Grey values of shape (H, W), where brighter tissue is denser.
        """
        return preprocess(pixels, np.zeros(pixels.shape, np.uint8), self.settings)

    def warning(self, shape: tuple[int, ...], preprocessed: PreprocessedImage, metadata: ImageMetadata) -> str:
        """Describe in what an image is unlike the training images; empty if it is like them, or if they are unknown.

        Args:
            shape: (H, W) of the full-size image.
            preprocessed: The preprocessed image.
            metadata: Metadata of the image.
        """
        if self.input_range is None:
            return ""
        measures = ImageMeasures.of_preprocessed(preprocessed, shape, self.settings, metadata)
        return self.input_range.warning(measures, metadata, self.settings.size)

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.float32]) -> tuple[Maps, Maps]:
        """Predict the probability of mass.

        Args:
            images: Preprocessed images of shape (B, size, size), see `prepare`.

        Returns:
            Mean of the probability over the members, in [0, 1], and its population standard deviation, in [0, 0.5],
            both of shape (B, size, size).

        Raises:
            UserError: If an image or an output is not finite, or the accelerator runs out of memory.
        """
        image = torch.from_numpy(images)[:, None].to(self.device)
        try:
            member_probs = torch.stack(
                [_predict_member(network, dims, image) for network in self.networks for dims in self.flip_dims]
            )
        except torch.OutOfMemoryError as error:
            raise UserError(
                "the memory of the accelerator is too small; reduce batch_size or set accelerator=cpu"
            ) from error
        if not member_probs.isfinite().all():
            if not image.isfinite().all():
                raise UserError("the image contains infinite or undefined values; correct them")
            raise UserError("the network's output is not a number: its training has diverged; use another checkpoint")
        mean, std = member_probs.mean(dim=0), member_probs.std(dim=0, correction=0)
        return mean.cpu().numpy(), std.cpu().numpy()


def _predict_member(network: nn.Module, flip_dims: tuple[int, ...], image: Tensor) -> Tensor:
    """Predict probabilities (B, H, W) for images (B, 1, H, W); see `member_logits`."""
    return torch.sigmoid(member_logits(network, flip_dims, image).float())[:, 0]


def load_ensemble(
    paths: Sequence[Path], *, tta: bool, threshold: float | None, accelerator: str, trusted_modules: Sequence[str] = ()
) -> Ensemble:
    """Load checkpoints as an ensemble.

    Args:
        paths: Checkpoints or exported models.
        tta: Whether to use test-time augmentation.
        threshold: Probability above which a pixel is mass; None uses the threshold of the checkpoints.
        accelerator: "auto", "cpu" or "gpu".
        trusted_modules: See `checkpoint.load_checkpoint`.

    Returns:
        The ensemble, in evaluation mode on the device.

    Raises:
        UserError: If a file is not a valid checkpoint, or the checkpoints differ in preprocessing or threshold.
    """
    loaded = [checkpoint.load_checkpoint(path, ("model",), trusted_modules) for path in paths]
    configs = [checkpoint.config_of(content) for content in loaded]
    stated = [(checkpoint.input_range_of(content), path) for content, path in zip(loaded, paths, strict=True)]
    return Ensemble(
        [load_network(content, path) for content, path in zip(loaded, paths, strict=True)],
        common_preprocessing(configs, paths),
        common_threshold(configs) if threshold is None else threshold,
        tta,
        select_device(accelerator),
        InputRange.union([InputRange.from_plain(value, path) for value, path in stated if value is not None]),
        mirrors_at_random(configs),
    )


def common_preprocessing(configs: Sequence[dict[str, Any]], paths: Sequence[Path]) -> PreprocessingSettings:
    """Return the preprocessing settings in the configs of all checkpoints of an ensemble.

    Args:
        configs: Config of each checkpoint.
        paths: Path of each checkpoint, for error messages.

    Raises:
        UserError: If the settings differ.
    """
    settings = [preprocessing_settings(config) for config in configs]
    reference = asdict(settings[0])
    for path, other in zip(paths, settings, strict=True):
        for name, value in asdict(other).items():
            if value != reference[name]:
                raise UserError(
                    f"ckpt_path: {path} was trained with dataset.{name}={value}, {paths[0]} with {reference[name]}; "
                    "the checkpoints of an ensemble must have the same preprocessing"
                )
    return settings[0]


def common_threshold(configs: Sequence[dict[str, Any]]) -> float:
    """Return the threshold in the configs of all checkpoints of an ensemble.

    Args:
        configs: Config of each checkpoint.

    Raises:
        UserError: If the thresholds differ.
    """
    thresholds = sorted({validate.probability("threshold", config.get("threshold")) for config in configs})
    if len(thresholds) > 1:
        raise UserError(
            f"the checkpoints must have the same threshold, got {thresholds}; set one for all, such as threshold=0.5"
        )
    return thresholds[0]


def preprocessing_settings(config: dict[str, Any]) -> PreprocessingSettings:
    """Return the preprocessing settings in the config of a checkpoint."""
    names = [field.name for field in fields(PreprocessingSettings)]
    if missing := [name for name in names if name not in config["dataset"]]:
        raise UserError(
            f"dataset.{missing[0]} is missing from the config of the checkpoint; train one with mammoseg.train"
        )
    return PreprocessingSettings(**{name: config["dataset"][name] for name in names})


def load_network(loaded: dict[str, Any], path: Path) -> nn.Module:
    """Build the network of a checkpoint and load its weights.

    Args:
        loaded: Content of the checkpoint, from `checkpoint.load_checkpoint`.
        path: Path of the checkpoint, for error messages.

    Returns:
        The network in evaluation mode.

    Raises:
        UserError: If the network cannot be built, or its weights do not match its config.
    """
    try:
        net: nn.Module = instantiate(checkpoint.config_of(loaded)["model"])
    except InstantiationException as error:
        raise UserError(
            f"{path}: the network cannot be built; it requires another version of mammoseg or a module that cannot be "
            "imported; use the version that trained it, and run the command in the folder of your modules"
        ) from error
    weights = checkpoint.network_weights(loaded)
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{path}: the weights do not match the network in the config "
            f"({checkpoint.config_of(loaded)['model']['_target_']}); use the checkpoint as written by training"
        ) from error
    return net.eval()


def select_device(accelerator: str) -> torch.device:
    """Return the device for an accelerator.

    Args:
        accelerator: "cpu", "gpu" (CUDA or MPS), or "auto", which uses a GPU if there is one.

    Raises:
        UserError: If `accelerator` is invalid, or "gpu" without a GPU.

    Example:
        >>> select_device("cpu")
        device(type='cpu')
    """
    validate.one_of("accelerator", accelerator, ACCELERATORS)
    if accelerator == "cpu":
        return torch.device("cpu")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    gpus = [name for name, is_available in available.items() if is_available]
    if accelerator == "gpu" and not gpus:
        raise UserError(
            "accelerator=gpu requires a GPU, and torch finds none; set accelerator=cpu or install torch for your GPU"
        )
    return torch.device(gpus[0] if gpus else "cpu")
