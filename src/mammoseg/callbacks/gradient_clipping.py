"""Norm of the gradients and the effect of clipping, and clipping at a percentile of the norms."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from mammoseg import validate
from mammoseg.errors import UserError
from mammoseg.segmenter import Segmenter

EPS = 1e-6  # as in torch.nn.utils.clip_grad_norm_


class GradientClipping(Callback):
    """Logs the norm of the gradients and how much clipping reduces it; clips at a percentile if `percentile` is set.

    Logged at the end of each epoch, over its optimizer steps: train/grad_norm, the mean norm before clipping;
    train/clipped, the fraction of steps whose norm exceeds the threshold; and train/clip_factor, the mean factor
    min(1, threshold / norm) by which clipping multiplies the gradients. The threshold is `trainer.gradient_clip_val`,
    or the percentile. Steps with a gradient that is not finite, which 16-mixed precision skips, are not counted; the
    values are NaN if there are no others.

    Clipping at a percentile of the norms of previous steps (AutoClip) gives every loss about the same fraction of
    clipped steps, whatever the scale of its gradients. A fixed threshold clips a loss with larger gradients more often.

    In distributed training, gradients are averaged over the processes before this hook, so all processes have the same
    values.

    Args:
        percentile: Percentile of the norms, in [0, 100], that is the threshold; 90 clips about 10 % of the steps. None:
            this callback does not clip.
        window: Number of last steps, including the current one, whose norms are used. None: all steps, as published.

    Raises:
        UserError: If an argument is invalid; before training, if `trainer.gradient_clip_val` is set as well as
            `percentile`.

    Source: Seetharaman, Wichern, Pardo, Le Roux: "AutoClip: Adaptive Gradient Clipping for Source Separation Networks",
    MLSP 2020.
    """

    def __init__(self, percentile: float | None = None, window: int | None = None) -> None:
        if percentile is not None and not 0 <= percentile <= 100:
            raise UserError(f"callbacks.gradient_clipping.percentile must be between 0 and 100, got {percentile}")
        if window is not None:
            validate.positive_int("callbacks.gradient_clipping.window", window)
        self.percentile = percentile
        self.window = window
        self.sums = torch.zeros(4, dtype=torch.float64)  # steps; sums of norm, clipped, factor over them
        self.steps: list[tuple[Tensor, Tensor]] = []  # norm and threshold of steps that are not in `sums` yet
        self.norms = torch.zeros(0)  # of the last `window` steps, in order

    @override
    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Check that only one of the two kinds of clipping is used."""
        if self.percentile is not None and trainer.gradient_clip_val:
            raise UserError(
                "trainer.gradient_clip_val must be null with callbacks.gradient_clipping.percentile, "
                f"got {trainer.gradient_clip_val}"
            )

    @override
    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: Optimizer
    ) -> None:
        """Measure the gradients, which are unscaled and accumulated but not yet clipped, and clip at the percentile."""
        gradients = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.percentile is None:
            self.steps.append((norm, torch.tensor(fixed_threshold(trainer), dtype=torch.float64)))
            return
        threshold = self._percentile_of(norm)
        torch._foreach_mul_(gradients, clip_factor(norm, threshold))
        self.steps.append((norm, threshold))

    def _percentile_of(self, norm: Tensor) -> Tensor:
        """Return the percentile of the norms, including this one if it is finite."""
        assert self.percentile is not None
        # Appended without branching on its value, since that would wait for the GPU.
        norms = torch.cat([self.norms.to(norm), norm.reshape(1)])
        self.norms = norms if self.window is None else norms[-self.window :]
        return self.norms.where(self.norms.isfinite(), torch.nan).nanquantile(self.percentile / 100)

    def epoch_sums(self) -> Tensor:
        """Return the sums of the current epoch on the CPU: steps, and norm, clipped and factor over them.

        The steps are summed together, since the operations would take longer in every step of a GPU.
        """
        if self.steps:
            norms, thresholds = (torch.stack(values).cpu().double() for values in zip(*self.steps, strict=True))
            clipped, factors = (norms > thresholds).double(), clip_factor(norms, thresholds)
            rows = torch.stack([torch.ones_like(norms), norms, clipped, factors], dim=1)
            rows = rows.where(norms.isfinite()[:, None], 0)
            # In the order of the steps, so that the sums do not depend on the number of calls.
            self.sums = torch.cat([self.sums[None], rows]).cumsum(dim=0)[-1]
            self.steps = []
        return self.sums

    @override
    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: Any) -> None:
        """Log the means of the epoch after its last batch, before validation and checkpoints."""
        if not trainer.is_last_batch:
            return
        sums = self.epoch_sums()
        norm, clipped, factor = (sums[1:] / sums[0]).float().unbind()
        metrics = {"train/grad_norm": norm}
        if trainer.gradient_clip_algorithm is not GradClipAlgorithmType.VALUE:
            metrics |= {"train/clipped": clipped, "train/clip_factor": factor}
        assert isinstance(pl_module, Segmenter)
        pl_module.log_train_metrics(metrics)
        self.sums = torch.zeros_like(sums)

    @override
    def state_dict(self) -> dict[str, Any]:
        """Return the sums of the current epoch and the previous norms, so that a resumed run continues with them."""
        return {"sums": self.epoch_sums(), "norms": self.norms.cpu()}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of an interrupted run."""
        self.sums, self.norms = state_dict["sums"], state_dict["norms"]


def fixed_threshold(trainer: lightning.Trainer) -> float:
    """Return the largest norm that Lightning does not clip; infinity if it does not clip."""
    return float(trainer.gradient_clip_val or torch.inf)


def clip_factor(norm: Tensor, threshold: Tensor) -> Tensor:
    """Return the factor by which `torch.nn.utils.clip_grad_norm_` multiplies the gradients, min(1, threshold / norm).

    Example:
        >>> clip_factor(torch.tensor([0.5, 4.0]), torch.tensor(1.0))
        tensor([1.0000, 0.2500])
    """
    return (threshold / (norm + EPS)).clamp(max=1)
