"""LightningModule with network, criterion, metrics and optimizer, independent of datasets, files and figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric, MetricCollection
from typing_extensions import override

from mammoseg import validate
from mammoseg.batch import Batch, check_size, is_padding_batch
from mammoseg.data.split_result import HALVES
from mammoseg.errors import UserError
from mammoseg.losses import Criterion
from mammoseg.metrics import PIXEL_METRICS, MeanOverImages, PooledPixelMetric, confusion_counts, reliability_sums
from mammoseg.metrics.loss_terms import LossTermMeans
from mammoseg.models.deep_supervision import deep_supervision_terms, list_outputs
from mammoseg.optimizers import build_optimizer, check_layer_decay
from mammoseg.schedulers import check_total_steps, resolve_numbers_of_steps, scale_max_lr

COMPILE_MODES = (None, "default", "reduce-overhead", "max-autotune")
LOSS_SUMS_KEY = "train_loss_sums"  # key in checkpoints
NOT_A_NUMBER = "the network's output is not a number"


class Segmenter(lightning.LightningModule):
    """Trains a network with a criterion and logs every metric of `PIXEL_METRICS`.

    Batches are dicts with image (B, 1, H, W), mask (B, 1, H, W) in {0, 1}, density (B,) in {0, 1, 2, 3},
    density_score (B,) in [0, 3], which only some criteria need, and case (B,), the index of the image in the store. In
    distributed training, a batch also contains weight (B,): the loss is multiplied by its mean, so that the mean over
    the processes equals the mean over the global batch.

    Logged are train/loss and train/<term>; val/loss; val/<metric> and test/<metric>, pooled over pixels;
    test/image_<metric>, the mean over the images with a mass; and test/<metric>_density<1-4>, pooled over the pixels of
    each ACR category. If there are two validation loaders, one for each half of the held-out fold, val/<metric> is
    pooled over both, and val/<metric>_half<1-2> over one.

    Args:
        net: Network that maps images (B, 1, H, W) to logits (B, 1, H, W), and in training mode optionally to a list of
            these and logits of lower resolutions, for deep supervision.
        criterion: Loss of each sample, see `Criterion`.
        optimizer: Function that builds the optimizer from the parameters.
        scheduler: Lightning's lr_scheduler configuration: `scheduler`, a function that builds the scheduler from the
            optimizer; `interval`, "epoch" or "step"; and `monitor`, a logged metric or None. None keeps the learning
            rate constant.
        threshold: Probability above which a pixel is mass.
        channels_last: Whether to use the channels-last memory format, which is faster on recent GPUs.
        compile: Mode of torch.compile, or None. The names in the state_dict do not change.
        layer_decay: Factor of the learning rate for each stage of the encoder, see `optimizers.build_optimizer`.

    Raises:
        UserError: If `threshold`, `compile` or `layer_decay` is invalid.

    Example:
        >>> import torch
        >>> from mammoseg import AUNet, DensityASP
        >>> segmenter = Segmenter(AUNet(width=1), DensityASP(theta=[0.5, 0.5, 0.85, 0.95]))
        >>> segmenter(torch.zeros(1, 1, 32, 32)).shape
        torch.Size([1, 1, 32, 32])
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
        layer_decay: float = 1.0,
    ) -> None:
        super().__init__()
        validate.probability("threshold", threshold)
        validate.one_of("compile", compile, COMPILE_MODES)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.net = net.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        if compile is not None:
            self.net.compile(mode=compile)
        self.criterion = criterion
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.layer_decay = check_layer_decay(net, layer_decay)
        self.threshold = threshold
        self.logit_threshold = math.log(threshold / (1 - threshold))  # comparing logits avoids rounding by the sigmoid
        pooled = MetricCollection({name: metric() for name, metric in PIXEL_METRICS.items()})
        means = {f"image_{name}": MeanOverImages(metric) for name, metric in PIXEL_METRICS.items()}
        self.train_loss_terms = LossTermMeans(criterion.summands)
        self.train_metrics: dict[str, Tensor] = {}  # of the last complete epoch, for checkpoints
        self.weighted_terms: dict[str, Tensor] = {}  # of the current batch until its backward pass, each of shape (B,)
        self.val_loss = MeanMetric()
        self.val_metrics = pooled.clone(prefix="val/")
        self.val_half1_metrics, self.val_half2_metrics = (
            pooled.clone(prefix="val/", postfix=f"_{half}") for half in HALVES
        )
        self.test_metrics = pooled.clone(prefix="test/")
        self.test_image_metrics = MetricCollection(dict(means), prefix="test/")

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits of images (B, 1, H, W).

        Raises:
            UserError: If the network returns anything but one logit per pixel.
        """
        return self.all_logits(image)[0]

    def all_logits(self, image: Tensor) -> list[Tensor]:
        """Compute the logits of images (B, 1, H, W), and in training those of lower resolutions, see `list_outputs`."""
        return list_outputs(self.net(image.contiguous(memory_format=self.memory_format)), image)

    def logits_to_mask(self, logits: Tensor) -> Tensor:
        """Threshold logits; returns the predicted masks, a bool tensor of the same shape."""
        return logits > self.logit_threshold

    def checked_logits(self, image: Tensor) -> Tensor:
        """Compute the logits and check that they are finite.

        NaN > threshold is False, so without the check a diverged network would be scored as an empty prediction.

        Args:
            image: Images (B, 1, H, W).

        Returns:
            Logits (B, 1, H, W).

        Raises:
            UserError: If a logit is not finite.
        """
        logits: Tensor = self(image)
        if not logits.isfinite().all():
            if not image.isfinite().all():
                raise UserError(f"{NOT_A_NUMBER}: the images contain infinite or undefined values; prepare them again")
            raise UserError(
                f"{NOT_A_NUMBER}: training has diverged; lower lr, or keep trainer.gradient_clip_val and "
                "trainer.precision=32-true"
            )
        return logits

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the loss of the batch and accumulate the means of the loss terms.

        Returns:
            The mean loss over the samples, a scalar; see the class for `weight`.
        """
        check_size(batch["image"].shape)
        outputs = self.all_logits(batch["image"])
        terms = deep_supervision_terms(self.criterion, outputs, batch["mask"], batch[self.criterion.density_key])
        self.weighted_terms = terms
        loss_terms = torch.stack(list(terms.values()))
        weights = batch.get("weight")
        self.train_loss_terms.update(
            loss_terms.detach(), loss_terms.shape[1] if weights is None else weights.count_nonzero()
        )
        if self.trainer.is_last_batch:
            means = self.train_loss_terms.compute()
            self.train_metrics = {}
            self.log_train_metrics({f"train/{name}": value for name, value in means.items()})
            self.train_loss_terms.reset()
        loss = loss_terms.mean(dim=1).sum()  # the only place with a mean over the batch
        return loss if weights is None else loss * weights.mean()

    @override
    def on_after_backward(self) -> None:
        """Release the graph of the loss terms."""
        self.weighted_terms = {}

    def log_train_metrics(self, metrics: Mapping[str, Tensor]) -> None:
        """Log the means of the current epoch after its last batch; checkpoints contain them as well.

        Args:
            metrics: Scalars by name, such as "train/loss".
        """
        self.train_metrics.update(metrics)
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=1)

    @override
    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Accumulate the loss and the metrics of the batch."""
        if is_padding_batch(batch):
            return
        logits = self.checked_logits(batch["image"])
        self.val_loss.update(self.criterion(logits, batch["mask"], batch[self.criterion.density_key]))
        mask_pred = self.logits_to_mask(logits)
        self.val_metrics.update(mask_pred, batch["mask"], batch["density"])
        if self.val_half_metrics:
            self.val_half_metrics[dataloader_idx].update(mask_pred, batch["mask"], batch["density"])

    @property
    def val_half_metrics(self) -> tuple[MetricCollection, ...]:
        """Metrics of each validation loader; empty if there is only one."""
        several = len(self.trainer.num_val_batches) > 1
        return (self.val_half1_metrics, self.val_half2_metrics) if several else ()

    @override
    def on_validation_epoch_start(self) -> None:
        """Broadcast the running statistics of batch normalisation from rank 0."""
        # Without synchronised batch normalisation, the running statistics differ between processes. Lightning calls the
        # hook of the callbacks first, in which WeightAveraging replaces the weights and statistics by their averages.
        if torch.distributed.is_initialized():
            for buffer in self.net.buffers():
                torch.distributed.broadcast(buffer, src=0)

    @override
    def on_validation_epoch_end(self) -> None:
        """Log the loss and the metrics of the epoch."""
        self.log_dict({"val/loss": self.val_loss.compute(), **self.val_metrics.compute()})
        self.val_loss.reset()
        self.val_metrics.reset()
        for metrics in self.val_half_metrics:
            self.log_dict(metrics.compute())
            metrics.reset()

    @override
    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor] | None:
        """Accumulate the metrics of the batch and return its predictions.

        Returns:
            case (B,), the indices of the images in the store; counts (B, 4), TP, FP, FN and TN; mask (B, 1, H, W);
            logits (B, 1, H, W); and reliability (2, 10, 3), `reliability_sums` of all pixels and of those within the
            breast. None for a padding batch.
        """
        if is_padding_batch(batch):
            return None
        logits = self.checked_logits(batch["image"])
        mask_pred = self.logits_to_mask(logits)
        self.test_metrics.update(mask_pred, batch["mask"], batch["density"])
        self.test_image_metrics.update(mask_pred, batch["mask"], batch["density"])
        prob = torch.sigmoid(logits.float())
        # Preprocessing sets the pixels outside the breast to the lowest value of the image.
        breast = batch["image"] > batch["image"].amin(dim=(1, 2, 3), keepdim=True)
        return {
            "case": batch["case"],
            "counts": confusion_counts(mask_pred, batch["mask"]),
            "mask": mask_pred,
            "logits": logits,
            "reliability": torch.stack([reliability_sums(prob, batch["mask"], region) for region in (None, breast)]),
        }

    @override
    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test set."""
        self.log_dict({**self.test_metrics.compute(), **self.test_image_metrics.compute()})
        for name, metric in self.test_metrics.items():
            assert isinstance(metric, PooledPixelMetric)
            for category, value in enumerate(metric.by_density(), start=1):
                self.log(f"{name}_density{category}", value)
        self.test_metrics.reset()
        self.test_image_metrics.reset()

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the sums of the loss terms, so that the means of an interrupted epoch include all its steps."""
        sums = torch.cat([self.train_loss_terms.total, self.train_loss_terms.images.reshape(1)])
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        checkpoint[LOSS_SUMS_KEY] = sums.cpu()

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the sums of the loss terms, on one process since `compute` adds those of all processes."""
        sums = checkpoint.get(LOSS_SUMS_KEY)  # missing in checkpoints of version 0.1
        if sums is not None and self.trainer.is_global_zero:
            self.train_loss_terms.total.copy_(sums[:-1])
            self.train_loss_terms.images.copy_(sums[-1])

    @override
    def configure_optimizers(self) -> Any:
        """Build the optimizer and, unless the learning rate is constant, the scheduler.

        Returns:
            The optimizer, or a dict with the optimizer and Lightning's lr_scheduler configuration.

        Raises:
            UserError: If the optimizer or the scheduler rejects its arguments.
        """
        optimizer = build_optimizer(self.optimizer, self.net, self.criterion, self.layer_decay)
        if self.scheduler is None:
            return optimizer
        build_scheduler = resolve_numbers_of_steps(self.scheduler["scheduler"], self.trainer)
        build_scheduler = scale_max_lr(build_scheduler, optimizer)
        try:
            scheduler = build_scheduler(optimizer)
        except (ValueError, TypeError) as error:
            raise UserError(f"scheduler: {error}; correct the scheduler.scheduler.* settings") from error
        check_total_steps(scheduler, self.scheduler["interval"], self.trainer)
        return {"optimizer": optimizer, "lr_scheduler": {**self.scheduler, "scheduler": scheduler}}
