"""Storage of the config and the identity of a run in its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from mammoseg.callbacks.run_checkpoint import upgrade_callback_states
from mammoseg.runs.checkpoint import PROVENANCE_KEY
from mammoseg.segmenter import Segmenter


class ProvenanceCallback(Callback):
    """Stores config and identity of the run in each checkpoint, and makes the paths in it relative to the run folder.

    Args:
        folder: Run folder.
        config: Public settings of the run, from `runs.settings.public`.
        run_info: Identity of the run, see `train.identity.run_info`.
    """

    def __init__(self, folder: Path, config: dict[str, Any], run_info: dict[str, Any]) -> None:
        self.folder = folder.resolve()
        self.provenance = {"config": config, "run_info": run_info}

    @override
    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the provenance, and make paths relative."""
        for logger in trainer.loggers:  # a resumed run does not log again what was logged before the checkpoint
            logger.save()
        checkpoint[PROVENANCE_KEY] = self.provenance
        if trainer.is_last_batch and isinstance(pl_module, Segmenter):
            # Lightning logs these metrics after the checkpoint is saved, so a run killed in between would lose them.
            metrics = {name: float(value) for name, value in pl_module.train_metrics.items()}
            step = {"epoch": trainer.current_epoch, "step": trainer.global_step - 1}
            checkpoint[PROVENANCE_KEY] = {**self.provenance, "train_metrics": {**step, **metrics}}
        # The state of ModelCheckpoint contains absolute paths, which would reveal local folders.
        checkpoint["callbacks"] = replace_prefix(checkpoint["callbacks"], f"{self.folder}/", "run:/")

    @override
    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Make paths absolute."""
        states = upgrade_callback_states(checkpoint["callbacks"])
        checkpoint["callbacks"] = replace_prefix(states, "run:/", f"{self.folder}/")


def replace_prefix(node: Any, old: str, new: str) -> Any:
    """Replace the prefix of all strings in nested dicts, including keys.

    Args:
        node: A dict, a string, or any other value, which is returned unchanged.
        old: Prefix to replace.
        new: New prefix.

    Example:
        >>> replace_prefix({"path": "/run/best.ckpt"}, "/run/", "run:/")
        {'path': 'run:/best.ckpt'}
    """
    if isinstance(node, dict):
        return {replace_prefix(key, old, new): replace_prefix(value, old, new) for key, value in node.items()}
    if isinstance(node, str) and node.startswith(old):
        return new + node.removeprefix(old)
    return node
