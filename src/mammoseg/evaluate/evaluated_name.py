"""Name of the output folder of an evaluation, which states what was evaluated: method, fold, seed and dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from mammoseg.cli import parse_paths
from mammoseg.errors import UserError
from mammoseg.exported_model import CONFIG_FILE, WEIGHTS_FILE
from mammoseg.runs.checkpoint_paths import find_checkpoints
from mammoseg.runs.folder import RunFolder, load_yaml
from mammoseg.runs.folder_name import folder_name
from mammoseg.runs.record import read_record_or_skip
from mammoseg.runs.results import RUN_COLUMNS

UNKNOWN = "evaluation"  # name if the settings are invalid, which the command reports


def evaluated_name(*, _root_: DictConfig) -> str:
    """Return the beginning of the name of the output folder, such as "au_net-fold0-seed0-on-inbreast".

    The dataset is omitted if it is that of the training.

    Args:
        _root_: Composed config of `evaluate`, as OmegaConf passes it to a resolver.
    """
    try:
        return name_of_masks(_root_) if _root_.masks is not None else name_of_checkpoints(_root_)
    except (UserError, OmegaConfBaseException):
        return UNKNOWN


def name_of_masks(cfg: DictConfig) -> str:
    """Return the name of an evaluation of masks that another program predicted."""
    from mammoseg.evaluate.external_masks import identity_of_masks  # lazy: --help must not wait for torch

    info = identity_of_masks(cfg)
    return folder_name(info, str(info["dataset"]))


def name_of_checkpoints(cfg: DictConfig) -> str:
    """Return the name of an evaluation of one or several checkpoints.

    Raises:
        UserError: If a checkpoint does not exist.
    """
    from mammoseg.evaluate.external import evaluation_identity  # lazy: --help must not wait for torch

    infos = [identity_of(path) for path in find_checkpoints(parse_paths(cfg.ckpt_path, "ckpt_path"))]
    if not infos:
        return UNKNOWN
    dataset = str(cfg.dataset.get("name", ""))
    is_other = any(str(info["dataset"]) != dataset for info in infos)
    return folder_name(evaluation_identity(infos, dataset), dataset if is_other else "")


def identity_of(path: Path) -> dict[str, Any]:
    """Return the identity of the run of a checkpoint without loading it; of an unknown run, the name of the file.

    Args:
        path: A checkpoint, or the weights of an exported model.
    """
    if path.name == WEIGHTS_FILE:
        stored: Any = load_yaml(path.with_name(CONFIG_FILE)).get("run_info")
        unknown = path.absolute().parent.name
    else:
        record = read_record_or_skip(RunFolder.of_checkpoint(path.resolve()))
        stored, unknown = None if record is None else record.run_info, path.stem
    info = {name: stored.get(name, "") for name in RUN_COLUMNS} if stored else dict.fromkeys(RUN_COLUMNS, "")
    return {**info, "method": info["method"] or unknown}
