"""Training of a tiny network on random images, and the same training in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mammoseg.batch import Batch
from mammoseg.losses import DensityASP
from mammoseg.segmenter import Segmenter

THETA = (0.25, 0.25, 0.85, 0.95)
LR = 0.1


def make_batches(n_batches: int) -> list[Batch]:
    """Return batches of two images with a mass."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:20, 10:25] = 1
    return [
        {
            "image": mask + torch.rand(2, 1, 32, 32, generator=generator),
            "mask": mask,
            "density": torch.randint(4, (2,), generator=generator),
            "case": torch.arange(2),
        }
        for _ in range(n_batches)
    ]


def make_segmenter(dropout: float = 0.0) -> Segmenter:
    """Return a Segmenter with two convolutions and batch normalisation, trained with SGD."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Dropout(dropout), nn.ReLU(), nn.Conv2d(2, 1, 1)
    )
    return Segmenter(net, DensityASP(THETA), optimizer=partial(torch.optim.SGD, lr=LR))


def fit(
    segmenter: Segmenter,
    batches: Sequence[Batch],
    callbacks: Sequence[Callback],
    clip: float | None = None,
    algorithm: str = "norm",
    accumulated: int = 1,
    precision: str = "32-true",
) -> lightning.Trainer:
    """Fit for two epochs."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=2,
        gradient_clip_val=clip,
        gradient_clip_algorithm=algorithm,
        accumulate_grad_batches=accumulated,
        precision=precision,  # type: ignore[arg-type]
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader: DataLoader[Batch] = DataLoader(list(batches), batch_size=None)  # type: ignore[arg-type]
    trainer.fit(segmenter, loader, loader)
    return trainer


class MetricsOfEpochs(Callback):
    """Records the logged training metrics of each epoch."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.epochs.append({name: float(value) for name, value in trainer.callback_metrics.items()})


def gradient_norm(parameters: Sequence[Tensor]) -> float:
    """Return the Euclidean norm of all gradients, from the definition."""
    gradients = [parameter.grad.double() for parameter in parameters if parameter.grad is not None]
    return math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
