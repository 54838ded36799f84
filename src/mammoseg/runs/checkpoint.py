"""What a checkpoint carries besides weights, and what it must not: configs as plain values, no path, no code."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from omegaconf import DictConfig, OmegaConf

from mammoseg.errors import UserError

KEY = "mammoseg"
WEIGHTS, CONFIG = "model.safetensors", "config.yaml"  # of an exported one
SECTIONS = (
    *("dataset", "split", "augment", "model", "loss", "optimizer", "scheduler", "trainer"),
    *("batch_size", "num_workers", "seed", "threshold", "channels_last", "compile"),
)
PLACES = (
    "root",
    "store",
    "tables",
    "default_root_dir",
)  # settings of the dataset and trainer that name the user's folders
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


def portable(cfg: DictConfig) -> dict[str, Any]:
    """The part of a run's config that rebuilds it elsewhere: plain values, without the user's folders."""
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    return without_places({name: plain[name] for name in SECTIONS})


def without_places(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: None if key in PLACES else without_places(value) for key, value in node.items()}
    if isinstance(node, list):
        return [without_places(value) for value in node]
    return node


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there when it is whole and on the disk.

    Lightning writes into the system's temporary folder, from where a move to another disk is a copy: a kill or a full
    disk in the midst of it would leave half a file in the place of the last good one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        beside = Path(f"{path}.unfinished")
        beside.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


class Carry(Callback):
    """Puts `config` and `about` into each checkpoint, and takes the user's folders out of it."""

    def __init__(self, folder: Path, config: dict[str, Any], about: dict[str, Any]) -> None:
        self.folder = folder.resolve()
        self.carried = {"config": config, "about": about}

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[KEY] = self.carried
        # ModelCheckpoint's state names absolute paths; below the run folder they mean the same.
        checkpoint["callbacks"] = replaced(checkpoint["callbacks"], f"{self.folder}/", "run:/")

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["callbacks"] = replaced(checkpoint["callbacks"], "run:/", f"{self.folder}/")


def replaced(node: Any, old: str, new: str) -> Any:
    """`node` with `old` at the start of each string, also of keys, replaced by `new`."""
    if isinstance(node, dict):
        return {replaced(key, old, new): replaced(value, old, new) for key, value in node.items()}
    if isinstance(node, str) and node.startswith(old):
        return new + node.removeprefix(old)
    return node


def read(path: Path, trust: Sequence[str] | None = ()) -> dict[str, Any]:
    """The checkpoint at `path`, loaded with weights_only=True, or what `mammoseg.export` made of one.

    `trust`: modules that may be called to rebuild it besides ours, torch's and MONAI's; None where it is not rebuilt.
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
    if trust is not None:
        trusted = (*TRUSTED, *(f"{module}." for module in trust))
        for target in called:
            if not target.startswith(trusted) or not is_part(target):
                raise UserError(
                    f"{path}: its config wants to call {target}, which is not on the list of trusted parts; if you "
                    f"know that code, say trust=[{target.partition('.')[0]}]"
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


def upgrade_config(node: Any) -> Any:
    """A stored config with the targets and arguments of this version; see `RENAMED_TARGETS`, `RENAMED_ARGUMENTS`."""
    if isinstance(node, list):
        return [upgrade_config(value) for value in node]
    if not isinstance(node, dict):
        return node
    upgraded = {key: upgrade_config(value) for key, value in node.items()}
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
