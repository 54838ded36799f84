"""Training with a frozen encoder, for all epochs or for the first ones."""

from __future__ import annotations

import lightning
from lightning.pytorch.callbacks import Callback
from torch import nn
from typing_extensions import override

from mammoseg import validate
from mammoseg.errors import UserError
from mammoseg.models.encoder import encoder_stages
from mammoseg.segmenter import Segmenter

NAME = "callbacks.freeze_encoder"


class FreezeEncoder(Callback):
    """Freezes the encoder of the network: its parameters are not trained, and it is in evaluation mode.

    In evaluation mode, batch normalisation uses and keeps the running statistics of the initial weights, and dropout is
    off, so that the frozen encoder computes the same features in training, validation and test. In training mode, the
    features would depend on the other images of a batch, and the statistics would change although the weights do not.

    The parameters have no gradient, so the optimizer does not change them, neither by weight decay nor by momentum, and
    gradient norms are those of the other parameters. They are in the parameter groups of the optimizer from the start,
    and are trained with its current learning rate when they are unfrozen. Lightning's `BaseFinetuning` adds them to the
    optimizer when they are unfrozen instead, which learning-rate schedulers do not take into account.

    The state depends only on the epoch, so a resumed run needs no other information.

    Args:
        epochs: Number of first epochs in which the encoder is frozen. None: all.

    Raises:
        UserError: If `epochs` is not positive; before training, if the network declares no encoder, or `epochs` is set
            in distributed training without `find_unused_parameters`.
    """

    def __init__(self, epochs: int | None = None) -> None:
        self.epochs = None if epochs is None else validate.positive_int(f"{NAME}.epochs", epochs)
        self.frozen: list[nn.Module] = []  # modules that this callback has set to evaluation mode

    @override
    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Check the settings, and exclude the parameters from the synchronisation of gradients if they stay frozen."""
        if stage != "fit":
            return
        assert isinstance(pl_module, Segmenter)
        encoder = nn.ModuleList(encoder_stages(pl_module.net, NAME))
        if self.epochs is None:
            encoder.requires_grad_(False)
        elif trainer.world_size > 1 and not getattr(trainer.strategy, "_ddp_kwargs", {}).get("find_unused_parameters"):
            # DistributedDataParallel waits for the gradients of all parameters that were trainable at the start.
            raise UserError(
                f"trainer.strategy must be ddp_find_unused_parameters_true with several processes and {NAME}.epochs="
                f"{self.epochs}, got another strategy; set it, or {NAME}.epochs=null"
            )

    @override
    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Freeze the encoder; `on_train_epoch_start` is not called for an epoch that is resumed midway."""
        self._update(trainer, pl_module)

    @override
    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Unfreeze the encoder after the last epoch in which it is frozen."""
        self._update(trainer, pl_module)

    def _update(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        is_frozen = self.epochs is None or trainer.current_epoch < self.epochs
        if is_frozen == bool(self.frozen):
            return
        assert isinstance(pl_module, Segmenter)
        encoder = nn.ModuleList(encoder_stages(pl_module.net, NAME))
        encoder.requires_grad_(not is_frozen)
        modules = [module for module in encoder.modules() if module.training] if is_frozen else self.frozen
        for module in modules:
            module.training = not is_frozen
        self.frozen = modules if is_frozen else []
