"""Checks of the files from which a run is resumed: its last checkpoint and its split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from torch import nn

from mammoseg.callbacks.run_checkpoint import (
    best_states,
    checkpoint_name,
    stored_score,
    upgrade_callback_states,
)
from mammoseg.data.split_result import Split
from mammoseg.data.store import Case
from mammoseg.errors import UserError
from mammoseg.runs import checkpoint
from mammoseg.runs.folder import RunFolder
from mammoseg.runs.untrusted_config import MAX_DEPTH, MAX_ENTRIES

# Parts of the state of the training.
STATE_TYPES: dict[str, type] = {
    **{"callbacks": dict, "loops": dict, "optimizer_states": list, "lr_schedulers": list},
    **{"global_step": int, "pytorch-lightning_version": str},
}


def load_last_checkpoint(folder: RunFolder) -> dict[str, Any]:
    """Load last.ckpt. Its config is not instantiated.

    Args:
        folder: Run folder.

    Raises:
        UserError: If the file is damaged.
    """
    path = folder.last_checkpoint
    try:
        loaded = checkpoint.load_checkpoint(path)
        check_training_state(loaded, path)
    except UserError as error:
        restart = "delete it to start the training from the beginning"
        if best := folder.best_checkpoints():
            # The second of two is written later in an epoch, so it includes the state of the first.
            restart = f"replace it by a copy of {best[-1].name} to resume after the best epoch, or {restart}"
        raise UserError(f"the run cannot be resumed, since {path} is damaged; {restart}") from error
    return loaded


def check_best_checkpoints(loaded: Mapping[str, Any], folder: RunFolder) -> None:
    """Check that the best checkpoints can be loaded, since the next epochs may not be better, so that they are tested.

    Args:
        loaded: Content of last.ckpt.
        folder: Run folder.

    Raises:
        UserError: If a checkpoint is missing or damaged.
    """
    for key, state in best_states(upgrade_callback_states(loaded["callbacks"])).items():
        if stored_score(state) is None:
            continue
        path = folder.last_checkpoint.with_name(f"{checkpoint_name(key)}{folder.last_checkpoint.suffix}")
        try:
            checkpoint.load_checkpoint(path)
        except UserError as error:
            raise UserError(
                f"the run cannot be resumed, since {path} is missing or damaged; restore the file, or delete "
                f"{folder.last_checkpoint.name} to start the training from the beginning"
            ) from error


def check_training_state(loaded: Mapping[str, Any], path: Path) -> None:
    """Check the types of the state of the training, and that no path in it leads out of the run folder.

    Lightning reads and deletes files at paths in the states of its callbacks.

    Args:
        loaded: Content of a checkpoint.
        path: Its path, for error messages.

    Raises:
        UserError: If the state is incomplete or invalid.
    """
    for name, expected in STATE_TYPES.items():
        if type(loaded.get(name)) is not expected:
            raise UserError(f"{path}: its state of the training has no valid {name}")
    progress = loaded["loops"]
    for name in ("fit_loop", "epoch_progress", "current", "ready"):
        progress = progress.get(name) if isinstance(progress, dict) else None
    if type(progress) is not int or progress < 0 or loaded["global_step"] < 0:
        raise UserError(f"{path}: its numbers of epochs and steps must be at least 0")
    if not all(isinstance(state, dict) and "param_groups" in state for state in loaded["optimizer_states"]):
        raise UserError(f"{path}: its state of the training has no valid optimizer_states")
    states = loaded["callbacks"]
    if any(".." in PurePath(text).parts for text in _strings(states, path)):
        raise UserError(f"{path}: the states of callbacks must not contain paths with ..")
    best = best_states(upgrade_callback_states(states))
    if not best or not all(isinstance(state, dict) for state in best.values()):
        raise UserError(f"{path}: it has no state of the best checkpoint")
    metrics = loaded[checkpoint.PROVENANCE_KEY].get("train_metrics", {"epoch": 0, "step": 0})
    is_mapping = isinstance(metrics, dict) and {"epoch", "step"} <= metrics.keys()
    if not is_mapping or not all(type(value) in (int, float) for value in metrics.values()):
        raise UserError(f"{path}: its train_metrics must be numbers, with an epoch and a step")


def _strings(node: Any, path: Path) -> Iterator[str]:
    """Yield all strings in nested mappings and lists, within limits of size and depth."""
    n_entries, stack = 0, [(node, 0)]
    while stack:
        value, depth = stack.pop()
        n_entries += 1
        if n_entries > MAX_ENTRIES or depth > MAX_DEPTH:
            raise UserError(f"{path}: the states of callbacks must have at most {MAX_ENTRIES} entries")
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            stack += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list | tuple):
            stack += [(item, depth + 1) for item in value]


def check_network(loaded: Mapping[str, Any], network: nn.Module, path: Path) -> None:
    """Check that a checkpoint contains the weights of a network.

    Raises:
        UserError: If names or shapes differ.
    """
    stored = {name: value.shape for name, value in checkpoint.network_weights(dict(loaded)).items()}
    if stored != {name: value.shape for name, value in network.state_dict().items()}:
        raise UserError(f"the run cannot be resumed, since the weights in {path} do not match the network of the run")


def check_split(folder: RunFolder, split: Split, cases: Sequence[Case]) -> None:
    """Check that images and parts are those of the previous start, so that no training image becomes a test image.

    Args:
        folder: Run folder, whose split.csv was written when the run was started.
        split: Split of this start.
        cases: Cases of the store.

    Raises:
        UserError: If split.csv is missing or describes a different split.
    """
    path = folder.split
    if not path.is_file():
        raise UserError(
            f"{path} is missing, so the run cannot be resumed: it could be tested on images it was trained on; restore "
            "the file, or delete the run folder and start again"
        )
    if split.differs_from(path, cases):
        raise UserError(
            f"{path}: the run cannot be resumed, since images or their parts have changed; restore the dataset and "
            "the file, or use init_from to start a new run from these weights"
        )
