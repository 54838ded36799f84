"""Checkpoint(s) -> probability of mass: the preparation they carry, mirrored copies, and ensembles."""

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
from mammoseg.data.preprocessing.preprocess import PreprocessedImage, preprocess
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.errors import UserError
from mammoseg.runs import checkpoint

Maps = NDArray[np.float32]
ACCELERATORS = ("auto", "cpu", "gpu")


class Ensemble:
    """Networks that were trained on images prepared in one way; their opinion is the mean probability.

    `threshold`: a pixel is mass above this probability. `tta`: each network also sees every image mirrored, left to
    right, upside down and both, and its answers are mirrored back; not left to right where `settings.flip` puts all
    breasts on one side, for then it never saw one on the other.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        settings: PreprocessingSettings,
        threshold: float,
        tta: bool,
        device: torch.device,
    ) -> None:
        self.networks = [network.eval().to(device) for network in networks]
        self.settings = settings
        self.threshold = threshold
        self.tta = tta
        self.device = device
        sideways = [(), (3,)] if tta and settings.flip == "none" else [()]
        self.mirrors = [across + down for down in ([(), (2,)] if tta else [()]) for across in sideways]

    @property
    def members(self) -> int:
        """Opinions on each image; of a single one nobody can say how certain it is."""
        return len(self.networks) * len(self.mirrors)

    def prepare(self, pixels: NDArray) -> PreprocessedImage:
        """(H, W) as the reader gives them -> as the networks' training images were prepared."""
        return preprocess(pixels, np.zeros(pixels.shape, np.uint8), self.settings)

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.float32]) -> tuple[Maps, Maps]:
        """(B, size, size) -> mean over the members of the probability of mass, and its standard deviation.

        Both (B, size, size); the deviation, of the members as a population, lies in [0, 0.5].
        Raises UserError where a network's output is not a number, or the accelerator's memory is too small.
        """
        image = torch.from_numpy(images)[:, None].to(self.device)
        try:
            opinions = torch.stack([self.opinion(*each, image) for each in self.each_member()])
        except torch.OutOfMemoryError as error:
            raise UserError(
                "the accelerator's memory is too small; lower batch_size, or set accelerator=cpu"
            ) from error
        if not opinions.isfinite().all():
            raise UserError(
                "the network's output is not a number, so its training had diverged; give another checkpoint"
            )
        mean, deviation = opinions.mean(dim=0), opinions.std(dim=0, correction=0)
        return mean.cpu().numpy(), deviation.cpu().numpy()

    def each_member(self) -> list[tuple[nn.Module, tuple[int, ...]]]:
        return [(network, mirror) for network in self.networks for mirror in self.mirrors]

    def opinion(self, network: nn.Module, mirror: tuple[int, ...], image: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, H, W)"""
        logits = network(image.flip(mirror)).flip(mirror)
        return torch.sigmoid(logits.float())[:, 0]


def load_ensemble(
    paths: Sequence[Path], *, tta: bool, threshold: float | None, accelerator: str, trusted_modules: Sequence[str] = ()
) -> Ensemble:
    """The ensemble of these checkpoints. `threshold=None` takes theirs. `trusted_modules`: see `load_checkpoint`.

    Raises UserError for what is no checkpoint, and for checkpoints that prepare images in different ways.
    """
    loaded = [checkpoint.load_checkpoint(path, trusted_modules) for path in paths]
    configs = [checkpoint.config_of(each) for each in loaded]
    settings = [preparation(config) for config in configs]
    for path, other in zip(paths, settings, strict=True):
        for name, value in asdict(other).items():
            if value != (first := asdict(settings[0])[name]):
                raise UserError(
                    f"ckpt_path: {path} was trained with dataset.{name}={value}, {paths[0]} with {first}; "
                    "an ensemble needs checkpoints of one preparation"
                )
    return Ensemble(
        [load_network(each, path) for each, path in zip(loaded, paths, strict=True)],
        settings[0],
        agreed(configs) if threshold is None else threshold,
        tta,
        select_device(accelerator),
    )


def agreed(configs: Sequence[dict[str, Any]]) -> float:
    thresholds = sorted({float(config["threshold"]) for config in configs})
    if len(thresholds) > 1:
        raise UserError(f"the checkpoints have different thresholds ({thresholds}); choose one with threshold=0.5")
    return thresholds[0]


def preparation(config: dict[str, Any]) -> PreprocessingSettings:
    """How the images of a run with this config were prepared."""
    names = [field.name for field in fields(PreprocessingSettings)]
    return PreprocessingSettings(**{name: config["dataset"][name] for name in names})


def load_network(loaded: dict[str, Any], path: Path) -> nn.Module:
    """The network of a checkpoint that `load_checkpoint` gave, with its weights.

    `path` is for the message: UserError where the weights are not those of the network that the config describes.
    """
    try:
        net: nn.Module = instantiate(checkpoint.config_of(loaded)["model"])
    except InstantiationException as error:
        raise UserError(
            f"{path}: its network cannot be built here, for it is of another version of mammoseg, or of a module that "
            "Python does not find; use the version that trained it, in the folder of your modules"
        ) from error
    weights = {
        name.removeprefix("net."): value for name, value in loaded["state_dict"].items() if name.startswith("net.")
    }
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"{path}: its weights are not those of the network that its config describes "
            f"({checkpoint.config_of(loaded)['model']['_target_']}); give the checkpoint as training wrote it"
        ) from error
    return net.eval()


def select_device(accelerator: str) -> torch.device:
    validate.one_of("accelerator", accelerator, ACCELERATORS)
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    fitting = [name for name, there in present.items() if there and accelerator != "cpu"]
    if accelerator == "gpu" and not fitting:
        raise UserError("accelerator=gpu, but torch sees none; set accelerator=cpu, or install torch for your GPU")
    return torch.device(fitting[0] if fitting else "cpu")
