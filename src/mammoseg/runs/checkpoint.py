"""Loading of checkpoints: only plain values and tensors are read, and only trusted classes can be instantiated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mammoseg.data.split_result import HALVES
from mammoseg.errors import UserError
from mammoseg.exported_model import (
    CARD_FILE,
    CONFIG_FILE,
    METADATA_KEY,
    WEIGHTS_FILE,
    check_digest,
    file_sha256,
    read_card_metadata,
)
from mammoseg.runs.results import RUN_COLUMNS
from mammoseg.runs.untrusted_config import check_plain, check_targets
from mammoseg.runs.upgrade import upgrade_config
from mammoseg.safe_yaml import load_yaml_file

PROVENANCE_KEY = "mammoseg"  # key of the config and the identity of the run
SELECTED_ON_KEY = "selected_on"  # key of the half of the held-out fold that selected the checkpoint
INPUT_RANGE_KEY = "input_range"  # key of the range of the training images, in exported models


def load_checkpoint(path: Path, sections: Sequence[str] = (), trusted_modules: Sequence[str] = ()) -> dict[str, Any]:
    """Load a checkpoint with `weights_only=True`, or an exported model.

    Args:
        path: A checkpoint, or an exported model or its folder.
        sections: Names of the sections of the config that the caller will instantiate, such as "model". Only their
            targets are checked, see `runs.untrusted_config`.
        trusted_modules: Modules whose classes may be instantiated, besides the targets that `conf/` names.

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
    provenance = loaded[PROVENANCE_KEY]
    check_plain(provenance, path)
    if not isinstance(provenance, dict) or not isinstance(provenance.get("config"), dict):
        raise UserError(f"{path}: its config must be that of a run of mammoseg; train one with mammoseg.train")
    provenance["config"] = config = upgrade_config(provenance["config"])
    provenance.setdefault("run_info", provenance.pop("about", None))  # name in version 0.1
    if missing := [section for section in (*sections, "dataset") if not isinstance(config.get(section), dict)]:
        raise UserError(f"{path}: its config has no {missing[0]}; train one with mammoseg.train")
    check_weights(loaded.get("state_dict"), path)
    config["dataset"]["source"] = None  # writes files; no command that reads a checkpoint needs it
    check_targets(config, sections, path, trusted_modules=trusted_modules)
    return {**loaded, PROVENANCE_KEY: provenance}


def check_weights(state_dict: Any, path: Path) -> None:
    """Check that the weights in a checkpoint are real numbers by name.

    Raises:
        UserError: If they are not.
    """
    if not isinstance(state_dict, dict):
        raise UserError(f"{path}: it contains no weights; train one with mammoseg.train")
    for name, value in state_dict.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor) or value.is_complex():
            raise UserError(f"{path}: its weights must be tensors of real numbers, got {str(name)[:80]}")


def check_run_info(run_info: Any, path: Path) -> None:
    """Check that the identity of a run is complete; tables and model cards contain it.

    Raises:
        UserError: If it is not.
    """
    values = [run_info.get(name) for name in RUN_COLUMNS] if isinstance(run_info, dict) else [None]
    if not all(type(value) in (str, int) and str(value).isprintable() for value in values):
        raise UserError(
            f"{path}: its run_info must contain {', '.join(RUN_COLUMNS)}, each a line of text or an integer"
        )


def stored_config(path: Path) -> dict[str, Any] | None:
    """Return the config in a file with weights; None if the file is not a checkpoint or an exported model of mammoseg.

    Args:
        path: A file of `torch.save`, or a safetensors file.

    Raises:
        UserError: If the file cannot be loaded.
    """
    if path.suffix == Path(WEIGHTS_FILE).suffix:  # config.yaml in its folder can belong to another program
        is_own = path.name == WEIGHTS_FILE and METADATA_KEY in read_card_metadata(path.with_name(CARD_FILE))
    else:
        loaded = _load_ckpt(path)
        provenance = loaded.get(PROVENANCE_KEY) if isinstance(loaded, dict) else None
        config = provenance.get("config") if isinstance(provenance, dict) else None
        is_own = isinstance(config, dict) and isinstance(config.get("dataset"), dict)
    return config_of(load_checkpoint(path)) if is_own else None


def config_of(loaded: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a loaded checkpoint."""
    config: dict[str, Any] = loaded[PROVENANCE_KEY]["config"]
    return config


def run_info_of(loaded: dict[str, Any]) -> dict[str, Any]:
    """Return the identity of the run that wrote a loaded checkpoint."""
    run_info: dict[str, Any] = loaded[PROVENANCE_KEY]["run_info"]
    return run_info


def selected_on(loaded: dict[str, Any]) -> str | None:
    """Return the half of the held-out fold that selected a loaded checkpoint.

    Returns:
        "half1" or "half2" for a best checkpoint of a run with `split.test=both`, otherwise None.

    Raises:
        UserError: If the stored value is invalid.
    """
    half = loaded[PROVENANCE_KEY].get(SELECTED_ON_KEY)
    if half not in (None, *HALVES):
        raise UserError(f"the checkpoint must be selected on one of {', '.join(HALVES)}, got {half}; train it again")
    return None if half is None else str(half)


def input_range_of(loaded: dict[str, Any]) -> Any:
    """Return the range of the training images in a loaded model, for `InputRange.from_plain`; None if it is unknown."""
    return loaded[PROVENANCE_KEY].get(INPUT_RANGE_KEY)


def network_weights(loaded: dict[str, Any]) -> dict[str, Any]:
    """Return the weights of the network in a loaded checkpoint, without those of the loss."""
    prefix = "net."
    state = loaded["state_dict"]
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def file_digest(path: Path) -> str:
    """Return the SHA-256 hash of a checkpoint file, in hexadecimal digits."""
    return file_sha256(weights_path(path))


def weights_path(path: Path) -> Path:
    """Return the file with the weights: the file itself, or the weights in the folder of an exported model."""
    return path / WEIGHTS_FILE if path.is_dir() else path


def _load_ckpt(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises many types of errors for an invalid file
        raise UserError(
            f"{path}: not a checkpoint that can be loaded with weights_only=True; train one with mammoseg.train"
        ) from error


def _load_safetensors(path: Path) -> dict[str, Any]:
    """Load an exported model: the weights, and the config in the same folder."""
    from safetensors.torch import load_file

    config = path.with_name(CONFIG_FILE)
    if not config.is_file():
        raise UserError(f"{path}: {CONFIG_FILE} is missing; keep the files of mammoseg.export in the same folder")
    check_digest(path)
    try:
        weights, provenance = load_file(path), load_yaml_file(config)
    except Exception as error:  # safetensors and PyYAML raise many types of errors for a damaged file
        raise UserError(
            f"{path} or {CONFIG_FILE} in the same folder is damaged; export the checkpoint again"
        ) from error
    return {
        PROVENANCE_KEY: provenance,
        "state_dict": {f"net.{name}": _single(value) for name, value in weights.items()},
    }


def _single(value: torch.Tensor) -> torch.Tensor:
    """Convert half to single precision; weights can be stored in half precision."""
    return value.float() if value.dtype == torch.float16 else value
