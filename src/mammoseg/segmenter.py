"""The LightningModule: net + criterion + metrics + optimiser. Knows no dataset, file or plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric, MetricCollection

from mammoseg.density import ACRDensity
from mammoseg.errors import UserError
from mammoseg.losses import Criterion
from mammoseg.metrics import FORMULAS, MeanOverImages, Pooled, count, reliability
from mammoseg.metrics.terms import TermMeans

Batch = dict[str, Tensor]
COMPILERS = ("default", "reduce-overhead", "max-autotune")


class Segmenter(lightning.LightningModule):
    """Trains `net` with `criterion` and reports the paper's four metrics.

    Batches are dicts: image (B, 1, H, W), mask (B, 1, H, W) in {0, 1}, density (B,) in 0..3, case (B,), and
    weight (B,) where several processes share a batch: times the mean over these B, it makes the mean over the
    processes that of the whole batch.
    `optimizer`: parameters -> Optimizer; `scheduler`: Optimizer -> LRScheduler, stepped once an epoch.
    `threshold`: a pixel is mass above this probability. `channels_last`: memory layout, a speed matter.
    `compile`: the mode in which torch compiles the network, or None; the names of its weights stay.

    Logs train/loss and train/<term>; val/<metric> and test/<metric>, pooled over pixels;
    test/image_<metric>, the mean over images; test/<metric>_density<1-4>, pooled per ACR category.
    """

    def __init__(
        self,
        net: nn.Module,
        criterion: Criterion,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = torch.optim.Adam,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        threshold: float = 0.5,
        channels_last: bool = False,
        compile: str | None = None,
    ) -> None:
        super().__init__()
        if not 0 < threshold < 1:
            raise UserError(f"threshold={threshold}, but a probability lies between 0 and 1")
        if compile is not None and compile not in COMPILERS:
            raise UserError(f"compile={compile}, but the choices are null, {', '.join(COMPILERS)}")
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.to(memory_format=self.layout)  # type: ignore[call-overload]
        if compile is not None:
            self.net.compile(mode=compile)
        self.criterion = criterion
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.threshold = threshold
        self.cut = math.log(threshold / (1 - threshold))  # on logits: no sigmoid to compute or to round
        pooled = MetricCollection({name: metric() for name, metric in FORMULAS.items()})
        means = {f"image_{name}": MeanOverImages(metric) for name, metric in FORMULAS.items()}
        self.train_terms = TermMeans([*criterion.terms])
        self.val_loss = MeanMetric()
        self.val_metrics = pooled.clone(prefix="val/")
        self.test_metrics = pooled.clone(prefix="test/")
        self.test_means = MetricCollection(dict(means), prefix="test/")

    def forward(self, image: Tensor) -> Tensor:
        return self.net(image.contiguous(memory_format=self.layout))

    def mask_of(self, logits: Tensor) -> Tensor:
        return logits > self.cut

    def finite(self, image: Tensor) -> Tensor:
        """Logits; a network that has diverged would otherwise be scored as one that finds nothing."""
        logits = self(image)
        if not logits.isfinite().all():
            raise UserError(
                "the network's output is not a number: training has diverged; lower lr, "
                "or keep trainer.gradient_clip_val and trainer.precision=32-true"
            )
        return logits

    def training_step(self, batch: Batch, step: int) -> Tensor:
        parts = torch.stack([*self.criterion.parts(self(batch["image"]), batch["mask"], batch["density"]).values()])
        weights = batch.get("weight")
        self.train_terms.update(parts.detach(), parts.shape[1] if weights is None else weights.count_nonzero())
        if self.trainer.is_last_batch:
            self.log_dict(
                {f"train/{name}": value for name, value in self.train_terms.compute().items()},
                on_step=False,
                on_epoch=True,
            )
            self.train_terms.reset()
        loss = parts.mean(dim=1).sum()  # the mean over the batch is taken here, only here
        return loss if weights is None else loss * weights.mean()

    def validation_step(self, batch: Batch, step: int) -> None:
        if idle(batch):
            return
        logits = self.finite(batch["image"])
        self.val_loss.update(self.criterion(logits, batch["mask"], batch["density"]))
        self.val_metrics.update(self.mask_of(logits), batch["mask"], batch["density"])

    def on_validation_start(self) -> None:
        # Where batch normalisation cannot see the other processes' images, each has its own running statistics.
        if torch.distributed.is_initialized():
            for buffer in self.net.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def on_validation_epoch_end(self) -> None:
        self.log_dict({"val/loss": self.val_loss.compute(), **self.val_metrics.compute()})
        self.val_loss.reset()
        self.val_metrics.reset()

    def test_step(self, batch: Batch, step: int) -> dict[str, Tensor] | None:
        """The rows of the store, their counts (B, 4), predicted masks (B, 1, H, W), and the batch's reliability.

        `logits` (B, 1, H, W): for whoever wants probabilities.
        """
        if idle(batch):
            return None
        logits = self.finite(batch["image"])
        mask_pred = self.mask_of(logits)
        self.test_metrics.update(mask_pred, batch["mask"], batch["density"])
        self.test_means.update(mask_pred, batch["mask"], batch["density"])
        return {
            "case": batch["case"],
            "counts": count(mask_pred, batch["mask"]),
            "mask": mask_pred,
            "logits": logits,
            "reliability": reliability(torch.sigmoid(logits.float()), batch["mask"]),
        }

    def on_test_epoch_end(self) -> None:
        self.log_dict({**self.test_metrics.compute(), **self.test_means.compute()})
        for name, metric in self.test_metrics.items():
            assert isinstance(metric, Pooled)
            for density, value in zip(ACRDensity, metric.by_density(), strict=True):
                self.log(f"{name}_density{density}", value)
        self.test_metrics.reset()
        self.test_means.reset()

    def configure_optimizers(self) -> Any:
        try:
            optimizer = self.optimizer(self.net.parameters())
        except (ValueError, TypeError) as error:
            raise UserError(f"optimizer: {error}; mend the optimizer.* settings, such as lr") from error
        # A criterion may learn its own weights.
        if learned := list(self.criterion.parameters()):
            optimizer.add_param_group({"params": learned})
        # A fused optimiser could divide by the loss scale of 16 bits itself, and Lightning does not clip the gradients
        # of one that might; told that it does not, Lightning divides, clips and steps as with any other.
        optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.scheduler(optimizer)}


def idle(batch: Batch) -> bool:
    """Whether the batch only keeps a process busy for which there is no image."""
    return "weight" in batch and not batch["weight"].any()
