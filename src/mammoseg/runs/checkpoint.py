"""Loading of checkpoints: only plain values and tensors are read, and only trusted classes can be instantiated."""

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

PROVENANCE_KEY = "mammoseg"  # key of the config and the identity of the run
WEIGHTS_FILE, CONFIG_FILE = EXPORTED_WEIGHTS, "config.yaml"  # files of an exported model
# Sections of the config that are instantiated. A _target_ in a checkpoint of another person could run any code.
INSTANTIATED_SECTIONS = ("dataset", "split", "model", "loss", "trainer")
# Not all of monai, since it contains functions that download files.
TRUSTED_PREFIXES = (
    *("mammoseg.data.", "mammoseg.losses.", "mammoseg.models.", "mammoseg.phantom.write."),
    *("torch.nn.", "monai.networks.nets.", "monai.losses.", "lightning.Trainer"),
)


def load_checkpoint(path: Path, trusted_modules: Sequence[str] | None = ()) -> dict[str, Any]:
    """Load a checkpoint with `weights_only=True`, or an exported model.

    Args:
        path: A checkpoint, or an exported model or its folder.
        trusted_modules: Modules whose classes may be instantiated, besides those of mammoseg, torch and MONAI. None
            disables the check, for callers that do not instantiate the config.

    Returns:
        Content of the checkpoint, with the config converted to the current version.

    Raises:
        UserError: If the file is not a checkpoint of mammoseg, or its config contains a class that is not trusted.
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
        provenance.setdefault("run_info", provenance.pop("about", None))  # name in version 0.1
        targets = list(iter_targets([config[section] for section in INSTANTIATED_SECTIONS]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: contains no config of a mammoseg run; train a network with mammoseg.train") from error
    if trusted_modules is not None:
        _check_trusted(targets, trusted_modules, path)
    return {**loaded, PROVENANCE_KEY: provenance}


def config_of(loaded: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a loaded checkpoint."""
    config: dict[str, Any] = loaded[PROVENANCE_KEY]["config"]
    return config


def run_info_of(loaded: dict[str, Any]) -> dict[str, Any]:
    """Return the identity of the run that wrote a loaded checkpoint."""
    run_info: dict[str, Any] = loaded[PROVENANCE_KEY]["run_info"]
    return run_info


def file_digest(path: Path) -> str:
    """Return the SHA-256 hash of a checkpoint file, in hexadecimal digits."""
    with weights_path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_weights_into(network: nn.Module, path: Path) -> None:
    """Load the weights of a checkpoint into a network, without any other state.

    Args:
        network: Network that receives the weights.
        path: A checkpoint, or an exported model or its folder.

    Raises:
        UserError: If the weights do not match the network.
    """
    state = load_checkpoint(path, trusted_modules=None)["state_dict"]
    weights = {name.removeprefix("net."): value for name, value in state.items() if name.startswith("net.")}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(
            f"init_from={path}: the weights do not match the network of this run; set model and width as in the "
            "training of the checkpoint"
        ) from error


def weights_path(path: Path) -> Path:
    """Return the file with the weights: the file itself, or the weights in the folder of an exported model."""
    return path / WEIGHTS_FILE if path.is_dir() else path


def iter_targets(node: Any) -> Iterator[str]:
    """Yield every `_target_` in nested dicts and lists.

    Example:
        >>> list(iter_targets({"terms": [{"_target_": "mammoseg.losses.BCE"}]}))
        ['mammoseg.losses.BCE']
    """
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
                f"{path}: its config uses {target}, which is not trusted; if you trust this code, set "
                f"trusted_modules=[{target.partition('.')[0]}]"
            )


def _is_defined_in_its_package(target: str) -> bool:
    """Return True if a target is defined in the package that it names, and not imported there from another package.

    Also returns True if the package is not installed; the error is then raised when the target is instantiated.
    """
    module, _, name = target.rpartition(".")
    package = target.partition(".")[0]
    try:
        imported = importlib.import_module(module)
    except ImportError:
        return importlib.util.find_spec(package) is None
    return str(getattr(getattr(imported, name, None), "__module__", package)).partition(".")[0] == package


def _load_ckpt(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises many types of errors for an invalid file
        raise UserError(
            f"{path}: not a checkpoint that can be loaded with weights_only=True; train one with mammoseg.train"
        ) from error


def _load_safetensors(path: Path) -> dict[str, Any]:
    """Load an exported model: the weights, and the config in the same folder."""
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(f"{path}: loading it requires safetensors; pip install '.[export]'") from error
    config = path.with_name(CONFIG_FILE)
    if not config.is_file():
        raise UserError(f"{path}: {CONFIG_FILE} is missing; keep the files of mammoseg.export in the same folder")
    try:
        weights, provenance = load_file(path), yaml.safe_load(config.read_bytes())
    except Exception as error:  # safetensors and PyYAML raise many types of errors for a damaged file
        raise UserError(
            f"{path} or {CONFIG_FILE} in the same folder is damaged; export the checkpoint again"
        ) from error
    return {PROVENANCE_KEY: provenance, "state_dict": {f"net.{name}": value for name, value in weights.items()}}
