"""Reading checkpoints: only plain values and weights are loaded, and only trusted classes may be instantiated."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from mammoseg.errors import UserError

KEY = "mammoseg"
WEIGHTS, CONFIG = "model.safetensors", "config.yaml"  # of an exported one
# A stored _target_ is code that somebody else may have written. All of monai would include its downloaders.
REBUILT = ("dataset", "split", "model", "loss", "trainer")
TRUSTED = ("mammoseg.", "torch.nn.", "monai.networks.nets.", "monai.losses.", "lightning.Trainer")
# Old -> new path of every `_target_` that has moved. Checkpoints of earlier versions store the old one.
RENAMED_TARGETS = {
    "mammoseg.data.inbreast.read": "mammoseg.data.readers.inbreast.read",
    "mammoseg.data.cbis_ddsm.read": "mammoseg.data.readers.cbis_ddsm.read",
    "mammoseg.data.folder.read": "mammoseg.data.readers.folder.read",
    "mammoseg.data.dataset.Dataset": "mammoseg.data.dataset.build_dataset",
    "mammoseg.models.monai.attention_unet": "mammoseg.models.monai_nets.attention_unet",
    "mammoseg.models.monai.dyn_unet": "mammoseg.models.monai_nets.dyn_unet",
    "mammoseg.models.monai.swin_unetr": "mammoseg.models.monai_nets.swin_unetr",
    "mammoseg.models.monai.unet_plus_plus": "mammoseg.models.monai_nets.unet_plus_plus",
}
# Arguments of a (renamed) target that have another name now, or were removed (None).
RENAMED_ARGUMENTS: dict[str, dict[str, str | None]] = {
    "mammoseg.models.au_net.AUNet": {
        "in_channels": None,
        "out_channels": None,
        "checkpointing": "gradient_checkpointing",
    },
    "mammoseg.models.unet.UNet": {"in_channels": None, "out_channels": None},
    "mammoseg.models.arf_net.ARFNet": {"in_channels": None, "out_channels": None},
}


def read(path: Path, trusted_modules: Sequence[str] | None = ()) -> dict[str, Any]:
    """The checkpoint at `path`, loaded with weights_only=True, or what `mammoseg.export` made of one.

    `trusted_modules`: modules whose classes may be instantiated besides those of mammoseg, torch and MONAI; None if
    nothing is instantiated.
    Raises UserError if it is no checkpoint of ours.
    """
    path = file_of(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; give the path of a checkpoints/best.ckpt or last.ckpt")
    checkpoint = read_exported(path) if path.suffix == Path(WEIGHTS).suffix else read_pickled(path)
    if not isinstance(checkpoint, dict) or KEY not in checkpoint:
        raise UserError(f"{path}: not a checkpoint of mammoseg; train one with mammoseg.train")
    checkpoint[KEY]["config"] = upgrade_config(checkpoint[KEY].get("config"))
    try:
        called = list(targets([checkpoint[KEY]["config"][section] for section in REBUILT]))
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path}: its config is not that of a run of mammoseg; train one with mammoseg.train"
        ) from error
    if trusted_modules is not None:
        trusted = (*TRUSTED, *(f"{module}." for module in trusted_modules))
        for target in called:
            if not target.startswith(trusted) or not is_part(target):
                raise UserError(
                    f"{path}: its config wants to call {target}, which is not on the list of trusted parts; if you "
                    f"know that code, set trusted_modules=[{target.partition('.')[0]}]"
                )
    return checkpoint


def is_part(target: str) -> bool:
    """Whether the target is defined where its name says, and not another library's function that a module imports.

    One whose package Python does not find is left to be told when it is built.
    """
    module, _, name = target.rpartition(".")
    package = target.partition(".")[0]
    try:
        found = importlib.import_module(module)
    except ImportError:
        return importlib.util.find_spec(package) is None
    return str(getattr(getattr(found, name, None), "__module__", package)).partition(".")[0] == package


def file_digest(path: Path) -> str:
    """SHA-256 of a checkpoint's content, in hexadecimal."""
    with file_of(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_weights_into(network: nn.Module, path: Path) -> None:
    """Load the network's weights from a checkpoint or an exported model; nothing else of it is used.

    Raises:
        UserError: If they are the weights of another network.
    """
    state = read(path, trusted_modules=None)["state_dict"]
    weights = {name.removeprefix("net."): value for name, value in state.items() if name.startswith("net.")}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"init_from={path}: its weights do not fit the network of this run; choose the model and the width that "
            "it was trained with"
        ) from error


def file_of(path: Path) -> Path:
    """Of an exported checkpoint its folder may be given."""
    return path / WEIGHTS if path.is_dir() else path


def read_pickled(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler meets: the file is no checkpoint
        raise UserError(
            f"{path}: not a checkpoint that can be loaded safely (weights only); train one with mammoseg.train"
        ) from error


def read_exported(path: Path) -> dict[str, Any]:
    """Weights without a training's state, with the config in a file beside them."""
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(f"{path}: reading it needs safetensors: pip install 'mammoseg[export]'") from error
    beside = path.with_name(CONFIG)
    if not beside.is_file():
        raise UserError(f"{path}: {CONFIG} is not beside it; keep the files that mammoseg.export wrote together")
    try:
        weights, carried = load_file(path), yaml.safe_load(beside.read_bytes())
    except Exception as error:  # safetensors and yaml have many types for a damaged file
        raise UserError(f"{path}, or {CONFIG} beside it, is damaged; export the checkpoint again") from error
    return {KEY: carried, "state_dict": {f"net.{name}": value for name, value in weights.items()}}


def upgrade_config(config: Any) -> Any:
    """Bring a stored config to the layout of this version: targets, arguments, and how a scheduler is described."""
    config = _upgrade_targets(config)
    scheduler = config.get("scheduler") if isinstance(config, dict) else None
    if isinstance(scheduler, dict) and "_target_" in scheduler:  # version 0.1: stepped once an epoch
        return {**config, "scheduler": {"scheduler": scheduler, "interval": "epoch", "monitor": None}}
    return config


def _upgrade_targets(node: Any) -> Any:
    """A stored config with the targets and arguments of this version; see `RENAMED_TARGETS`, `RENAMED_ARGUMENTS`."""
    if isinstance(node, list):
        return [_upgrade_targets(value) for value in node]
    if not isinstance(node, dict):
        return node
    upgraded = {key: _upgrade_targets(value) for key, value in node.items()}
    target = upgraded.get("_target_")
    if not isinstance(target, str):
        return upgraded
    upgraded["_target_"] = target = RENAMED_TARGETS.get(target, target)
    new_names = RENAMED_ARGUMENTS.get(target, {})
    renamed = {new_names.get(key, key): value for key, value in upgraded.items()}
    return {key: value for key, value in renamed.items() if key is not None}


def targets(node: Any) -> Iterator[str]:
    """Every `_target_` below `node`."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from targets(value)
