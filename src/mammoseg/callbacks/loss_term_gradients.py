"""Gradient norm of each loss term."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from typing_extensions import override

from mammoseg import validate
from mammoseg.errors import UserError
from mammoseg.segmenter import Segmenter

NAME = "callbacks.loss_term_gradients"


class LossTermGradients(Callback):
    """Logs the norm of the gradient of each weighted loss term with respect to the parameters of the network.

    Logged at the end of each epoch: train/grad_norm_<term>, the mean over the measured batches of the norm of the
    gradient of the mean over the batch of weight * priority * term. Each measurement takes one backward pass per term
    on the graph of the training step. It changes neither the gradients nor the statistics of batch normalisation nor
    the state of the random number generators.

    Args:
        every_n_steps: Measure the batches of every n-th optimizer step.

    Raises:
        UserError: If `every_n_steps` is not positive; before training, with torch.compile, 16-mixed precision, gradient
            checkpointing or several processes.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        self.every_n_steps = validate.positive_int(f"{NAME}.every_n_steps", every_n_steps)
        self.batches = 0
        self.sums: dict[str, Tensor] = {}  # of the norms in the current epoch, float64

    @override
    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Check that the gradients of the terms can be computed separately."""
        assert isinstance(pl_module, Segmenter)
        obstacles = {
            "compile": pl_module.net._compiled_call_impl is not None,  # frees the graph in the first backward pass
            "trainer.precision=16-mixed": trainer.precision == "16-mixed",  # small gradients would be rounded to 0
            # Batch normalisation would be updated again in each recomputation.
            "model.gradient_checkpointing": getattr(pl_module.net, "gradient_checkpointing", False),
            "several processes": trainer.world_size > 1,  # each would measure its part of the batch
        }
        if found := [name for name, is_set in obstacles.items() if is_set]:
            raise UserError(f"{NAME} cannot be used with {found[0]}; remove it, or train without {found[0]}")

    @override
    def on_before_backward(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, loss: Tensor
    ) -> None:
        """Measure the gradients if it is the turn of this step."""
        assert isinstance(pl_module, Segmenter)
        if trainer.global_step % self.every_n_steps:
            return
        parameters = [parameter for parameter in pl_module.net.parameters() if parameter.requires_grad]
        self.batches += 1
        for name, values in pl_module.weighted_terms.items():
            gradients = torch.autograd.grad(values.mean(), parameters, retain_graph=True, allow_unused=True)
            norm = torch.nn.utils.get_total_norm([gradient for gradient in gradients if gradient is not None])
            total = self.sums.get(name, torch.zeros((), dtype=torch.float64))
            self.sums[name] = total.to(norm.device) + norm.double()

    @override
    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        """Log the means of the epoch after its last batch, before validation and checkpoints."""
        if not trainer.is_last_batch or not self.batches:
            return
        assert isinstance(pl_module, Segmenter)
        means = {name: (total / self.batches).float() for name, total in self.sums.items()}
        pl_module.log_train_metrics({f"train/grad_norm_{name}": mean for name, mean in means.items()})
        self.batches, self.sums = 0, {}

    @override
    def state_dict(self) -> dict[str, Any]:
        """Return the sums of the current epoch, so that its means include the steps before an interruption."""
        return {"batches": self.batches, "sums": {name: total.cpu() for name, total in self.sums.items()}}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the sums of an interrupted epoch."""
        self.batches, self.sums = state_dict["batches"], dict(state_dict["sums"])
