"""Initial weights of a run: `init_from`, those of the network, and `encoder_weights`, those of its encoder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import nn

from mammoseg.data.known_datasets import dataset_title
from mammoseg.errors import UserError
from mammoseg.pretrained.registry import find_by_digest
from mammoseg.runs import checkpoint
from mammoseg.runs.checkpoint_paths import resolve_checkpoint
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.record import read_record
from mammoseg.runs.settings import DIGESTED, Role, flatten, role
from mammoseg.runs.shared_images import datasets_split_differently
from mammoseg.schema.check import plain_config
from mammoseg.train.encoder_weights import load_encoder_weights
from mammoseg.validate import as_yaml

PREPROCESSING = ("size", "crop", "aspect", "normalise", "flip")  # settings of the section dataset

log = logging.getLogger(__name__)


class InitialWeights:
    """Files with the initial weights of a run.

    A run that has already written a checkpoint does not need the initial weights. A file may have changed or moved
    since the start of the run, so its recorded hash is used.

    Args:
        cfg: Composed config of `train`.
        folder: Run folder.

    Attributes:
        paths: Path of the file of each setting that is set and needed.
        digests: Hash of the content of the file of each setting, None if it is not set.

    Raises:
        UserError: If a file does not exist.
    """

    def __init__(self, cfg: DictConfig, folder: RunFolder) -> None:
        self.cfg = cfg
        self.paths: dict[str, Path] = {}
        self.digests: dict[str, str | None] = dict.fromkeys(DIGESTED)
        stored = read_record(folder) if folder.last_checkpoint.is_file() else None
        for setting in DIGESTED:
            if cfg[setting] is None:
                continue
            if stored is not None and stored.settings.get(setting):
                self.digests[setting] = str(stored.settings[setting])
                continue
            path = resolve_checkpoint(cfg[setting], setting)
            if not path.is_file():
                advice = "give a file with weights or a run folder, see docs/finetuning.md"
                raise UserError(f"{setting}={cfg[setting]}: no such file; {advice}")
            self.paths[setting], self.digests[setting] = path, checkpoint.file_digest(path)

    def load_into(self, net: nn.Module) -> None:
        """Load the weights into the network of the run, without any other state.

        Raises:
            UserError: If a file is not valid, or the weights do not match the network.
        """
        if path := self.paths.get("init_from"):
            warn_about_shared_images("init_from", load_network_weights(net, path, self.cfg), self.cfg)
        if path := self.paths.get("encoder_weights"):
            load_encoder_weights(net, path)
            if (stored := checkpoint.stored_config(path)) is not None:
                warn_about_shared_images("encoder_weights", stored, self.cfg)


def load_network_weights(net: nn.Module, path: Path, cfg: DictConfig) -> dict[str, Any]:
    """Load the weights of a checkpoint into a network, and log differences in preprocessing.

    Args:
        net: Network that receives the weights.
        path: A checkpoint, or an exported model or its folder.
        cfg: Composed config of the run, to name the settings that differ.

    Returns:
        Config of the training of the checkpoint.

    Raises:
        UserError: If the file is not a checkpoint, or the weights do not match the network.
    """
    loaded = checkpoint.load_checkpoint(path)
    stored, current = checkpoint.config_of(loaded), plain_config(cfg)
    try:
        net.load_state_dict(checkpoint.network_weights(loaded))
    except RuntimeError as error:
        differences = model_differences(stored.get("model"), current["model"], checkpoint.run_info_of(loaded))
        advice = f"set {differences} as in its training" if differences else "use the code with which it was trained"
        raise UserError(f"init_from={path}: the weights do not match the network of this run; {advice}") from error
    for name in PREPROCESSING:
        before, now = (as_yaml(config["dataset"].get(name)) for config in (stored, current))
        if before != now:
            log.warning("init_from: dataset.%s is %s, but was %s in the training of the weights", name, now, before)
    return stored


def warn_about_shared_images(setting: str, stored: Mapping[str, Any], cfg: DictConfig) -> None:
    """Log a warning if test images of a run may be among the training images of its initial weights.

    Args:
        setting: Setting that names the weights.
        stored: Config of the training of the weights. If they started from a pretrained model, it is checked as well.
        cfg: Composed config of the run.
    """
    config = plain_config(cfg)
    models = [find_by_digest(stored.get(name)) for name in DIGESTED]
    trainings = [stored, *(model.config for model in models if model is not None)]
    names = {name: None for training in trainings for name in datasets_split_differently(training, config)}
    if names:
        log.warning(
            "%s: these weights were trained on %s with another split, so test images of this run may be among their "
            "training images, and its results too high; use the same split, or other data. Datasets are compared by "
            "their name",
            setting,
            " and ".join(map(dataset_title, names)),
        )


def model_differences(stored: Any, current: Mapping[str, Any], run_info: Any) -> str:
    """Return the overrides that make the network of a run that of a checkpoint, such as "model=unet model.width=8".

    Args:
        stored: Section `model` of the checkpoint.
        current: Section `model` of the run.
        run_info: Identity of the run that wrote the checkpoint.
    """
    earlier, now = dict(flatten(stored)), dict(flatten(current))
    is_other = earlier.get("_target_") != now.get("_target_")
    choice = run_info.get("model") if isinstance(run_info, Mapping) else None
    changed = {
        key: value
        for key, value in earlier.items()
        if key != "_target_" and (is_other or value != now.get(key)) and role(f"model.{key}") is Role.METHOD
    }
    settings = [f"model.{key}={as_yaml(value).replace(' ', '')}" for key, value in changed.items()]
    return " ".join([*([f"model={choice}"] if is_other else []), *settings])
