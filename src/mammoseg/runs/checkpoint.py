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
from mammoseg.runs.folder import EXPORTED_WEIGHTS
from mammoseg.runs.upgrade import upgrade_config

PROVENANCE_KEY = "mammoseg"  # of the config and the identity of the run
WEIGHTS_FILE, CONFIG_FILE = EXPORTED_WEIGHTS, "config.yaml"  # of an exported model
# The sections of the config that are instantiated. A stored _target_ is code that somebody else may have written.
INSTANTIATED_SECTIONS = ("dataset", "split", "model", "loss", "trainer")
# Not all of monai, which would include its downloaders.
TRUSTED_PREFIXES = (
    *("mammoseg.data.", "mammoseg.losses.", "mammoseg.models.", "mammoseg.phantom.write."),
    *("torch.nn.", "monai.networks.nets.", "monai.losses.", "lightning.Trainer"),
)


def load_checkpoint(path: Path, trusted_modules: Sequence[str] | None = ()) -> dict[str, Any]:
    """Load a checkpoint with `weights_only=True`, or a model that `mammoseg.export` wrote.

    Args:
        path: The checkpoint, or an exported model or its folder.
        trusted_modules: Modules whose classes may be instantiated, besides those of mammoseg, torch and MONAI. None if
            the caller instantiates nothing.

    Returns:
        The content, with the config in the layout of this version.

    Raises:
        UserError: If it is not a checkpoint of mammoseg, or names a class that is not trusted.
    """
    path = weights_path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; give a run folder, a checkpoint or an exported model")
    loaded = _load_safetensors(path) if path.suffix == Path(WEIGHTS_FILE).suffix else _load_ckpt(path)
    if not isinstance(loaded, dict) or PROVENANCE_KEY not in loaded:
        raise UserError(f"{path}: not a checkpoint of mammoseg; train one with mammoseg.train")
    try:
        provenance = dict(loaded[PROVENANCE_KEY])
        provenance["config"] = config = upgrade_config(provenance.get("config"))
        provenance.setdefault("run_info", provenance.pop("about", None))  # its name in version 0.1
        targets = list(iter_targets([config[section] for section in INSTANTIATED_SECTIONS]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: its config is not that of a run of mammoseg; train one with mammoseg.train"
        ) from error
    if trusted_modules is not None:
        _check_trusted(targets, trusted_modules, path)
    return {**loaded, PROVENANCE_KEY: provenance}


def config_of(loaded: dict[str, Any]) -> dict[str, Any]:
    """The config of a loaded checkpoint."""
    config: dict[str, Any] = loaded[PROVENANCE_KEY]["config"]
    return config


def run_info_of(loaded: dict[str, Any]) -> dict[str, Any]:
    """The identity of the run that wrote a loaded checkpoint."""
    run_info: dict[str, Any] = loaded[PROVENANCE_KEY]["run_info"]
    return run_info


def file_digest(path: Path) -> str:
    """SHA-256 of a checkpoint's content, in hexadecimal."""
    with weights_path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_weights_into(network: nn.Module, path: Path) -> None:
    """Load the network's weights from a checkpoint or an exported model; nothing else of it is used.

    Raises:
        UserError: If they are the weights of another network.
    """
    state = load_checkpoint(path, trusted_modules=None)["state_dict"]
    weights = {name.removeprefix("net."): value for name, value in state.items() if name.startswith("net.")}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"init_from={path}: its weights do not fit the network of this run; choose the model and the width that "
            "it was trained with"
        ) from error


def weights_path(path: Path) -> Path:
    """The file with the weights: an exported model may be given as its folder."""
    return path / WEIGHTS_FILE if path.is_dir() else path


def iter_targets(node: Any) -> Iterator[str]:
    """Yield every `_target_` in `node`, however deep."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield str(node["_target_"])
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from iter_targets(value)


def _check_trusted(targets: Sequence[str], trusted_modules: Sequence[str], path: Path) -> None:
    trusted = (*TRUSTED_PREFIXES, *(f"{module}." for module in trusted_modules))
    for target in targets:
        if not target.startswith(trusted) or not _is_defined_in_its_package(target):
            raise UserError(
                f"{path}: its config names {target}, which is not trusted; if you know that code, set "
                f"trusted_modules=[{target.partition('.')[0]}]"
            )


def _is_defined_in_its_package(target: str) -> bool:
    """Whether the target is defined in the package that its name says, rather than imported from another library.

    A target whose package is not installed passes: instantiating it reports that.
    """
    module, _, name = target.rpartition(".")
    package = target.partition(".")[0]
    try:
        found = importlib.import_module(module)
    except ImportError:
        return importlib.util.find_spec(package) is None
    return str(getattr(getattr(found, name, None), "__module__", package)).partition(".")[0] == package


def _load_ckpt(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler meets: the file is not a checkpoint
        raise UserError(
            f"{path}: not a checkpoint that can be loaded safely (weights only); train one with mammoseg.train"
        ) from error


def _load_safetensors(path: Path) -> dict[str, Any]:
    """An exported model: weights without the state of training, and the config in a file in the same folder."""
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(f"{path}: reading it needs safetensors: pip install '.[export]'") from error
    config = path.with_name(CONFIG_FILE)
    if not config.is_file():
        raise UserError(f"{path}: {CONFIG_FILE} is missing; keep the files that mammoseg.export wrote in one folder")
    try:
        weights, provenance = load_file(path), yaml.safe_load(config.read_bytes())
    except Exception as error:  # safetensors and yaml have many types for a damaged file
        raise UserError(f"{path}, or {CONFIG_FILE} in its folder, is damaged; export the checkpoint again") from error
    return {PROVENANCE_KEY: provenance, "state_dict": {f"net.{name}": value for name, value in weights.items()}}
