"""The LightningModule: net + criterion + metrics + optimiser. Knows no dataset, file or plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric, MetricCollection

from mammoseg import validate
from mammoseg.errors import UserError
from mammoseg.losses import Criterion
from mammoseg.metrics import PIXEL_METRICS, MeanOverImages, PooledPixelMetric, confusion_counts, reliability_sums
from mammoseg.metrics.terms import LossTermMeans
from mammoseg.schedulers import resolve_total_steps

Batch = dict[str, Tensor]
COMPILE_MODES = (None, "default", "reduce-overhead", "max-autotune")


class Segmenter(lightning.LightningModule):
    """Trains `net` with `criterion` and reports every metric of `PIXEL_METRICS`.

    Batches are dicts: image (B, 1, H, W), mask (B, 1, H, W) in {0, 1}, density (B,) in 0..3, case (B,), and
    weight (B,) where several processes share a batch: times the mean over these B, it makes the mean over the
    processes that of the whole batch.
    `optimizer`: parameters -> Optimizer. `scheduler`: Lightning's lr_scheduler configuration, in which `scheduler` is a
    callable Optimizer -> LRScheduler, `interval` is "epoch" or "step", and `monitor` a logged metric or None.
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
        scheduler: Mapping[str, Any] | None = None,
        threshold: float = 0.5,
        channels_last: bool = False,
        compile: str | None = None,
    ) -> None:
        super().__init__()
        validate.probability("threshold", threshold)
        validate.one_of("compile", compile, COMPILE_MODES)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.to(memory_format=self.layout)  # type: ignore[call-overload]
        if compile is not None:
            self.net.compile(mode=compile)
        self.criterion = criterion
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.threshold = threshold
        self.cut = math.log(threshold / (1 - threshold))  # on logits: no sigmoid to compute or to round
        pooled = MetricCollection({name: metric() for name, metric in PIXEL_METRICS.items()})
        means = {f"image_{name}": MeanOverImages(metric) for name, metric in PIXEL_METRICS.items()}
        self.train_terms = LossTermMeans([*criterion.terms])
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
        parts = torch.stack(
            [*self.criterion.weighted_terms(self(batch["image"]), batch["mask"], batch["density"]).values()]
        )
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
            "counts": confusion_counts(mask_pred, batch["mask"]),
            "mask": mask_pred,
            "logits": logits,
            "reliability": reliability_sums(torch.sigmoid(logits.float()), batch["mask"]),
        }

    def on_test_epoch_end(self) -> None:
        self.log_dict({**self.test_metrics.compute(), **self.test_means.compute()})
        for name, metric in self.test_metrics.items():
            assert isinstance(metric, PooledPixelMetric)
            for category, value in enumerate(metric.by_density(), start=1):
                self.log(f"{name}_density{category}", value)
        self.test_metrics.reset()
        self.test_means.reset()

    def configure_optimizers(self) -> Any:
        """The optimizer and, unless the learning rate is constant, Lightning's lr_scheduler configuration.

        Raises:
            UserError: If optimizer or scheduler reject their arguments.
        """
        try:
            optimizer = self.optimizer(self.net.parameters())
        except (ValueError, TypeError) as error:
            raise UserError(f"optimizer: {error}; correct the optimizer.* settings, such as lr") from error
        # A criterion may have trainable weights.
        if criterion_params := list(self.criterion.parameters()):
            optimizer.add_param_group({"params": criterion_params})
        # Lightning does not clip the gradients of a fused optimizer under AMP, which could unscale them itself. With
        # this flag it unscales, clips and steps as for any other optimizer.
        optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
        if self.scheduler is None:
            return optimizer
        build_scheduler = resolve_total_steps(self.scheduler["scheduler"], self.trainer)
        try:
            scheduler = build_scheduler(optimizer)
        except (ValueError, TypeError) as error:
            raise UserError(f"scheduler: {error}; correct the scheduler.scheduler.* settings") from error
        return {"optimizer": optimizer, "lr_scheduler": {**self.scheduler, "scheduler": scheduler}}


def idle(batch: Batch) -> bool:
    """Whether the batch only keeps a process busy for which there is no image."""
    return "weight" in batch and not batch["weight"].any()
