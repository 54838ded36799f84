"""Effect of each choice of gradient clipping on two losses: clipped steps, gradient norm against theta, validation DSC.

python benchmarks/gradient_clipping.py ROOT [--epochs 3] [--seed 0] [--losses ...] [--choices ...]
python benchmarks/gradient_clipping.py ROOT --terms

ROOT is a dataset in the layout of dataset=folder with a `split` column, such as CBIS-DDSM. Images have 128 x 128
pixels, AU-Net has width 8, and the weights of the region terms are those of theta=cbis_ddsm. The table has one row per
loss, choice and epoch. With --terms, the table has the median norm of the gradient of each term with respect to the
logits of one image, for logits of increasing quality, and nothing is trained.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

from mammoseg.build import build_callbacks, build_datamodule, build_segmenter, build_trainer
from mammoseg.callbacks.gradient_clipping import GradientClipping, clip_factor
from mammoseg.conf import conf_dir

LOSSES = ("hybrid_pixel", "density_asp", "density_asp_clipped")
CHOICES = {
    "norm 1": [],
    "AutoClip 90": ["callbacks=[default,auto_clip]"],
    "AutoClip 10": ["callbacks=[default,auto_clip]", "callbacks.gradient_clipping.percentile=10"],
    "warm-up, not clipped": ["scheduler=step_warmup", "trainer.gradient_clip_val=null"],
    "not clipped": ["trainer.gradient_clip_val=null"],
    "lr 1e-4, norm 1": ["lr=1e-4"],
    "lr 1e-4, not clipped": ["lr=1e-4", "trainer.gradient_clip_val=null"],
}
HEADINGS = (
    *("loss", "choice", "epoch", "clipped, %", "mean factor", "median norm", "slope before", "slope after"),
    *("validation DSC, %",),
)


class StepRecorder(GradientClipping):
    """GradientClipping that also keeps norm, threshold and mean theta of each step, and prints a row for each epoch."""

    def __init__(self, labels: tuple[str, str], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.labels = labels
        self.batch_theta = 0.0
        self.rows: list[tuple[float, float, float]] = []

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: dict[str, Tensor], batch_idx: int
    ) -> None:
        """Store the mean theta of the batch."""
        self.batch_theta = float(self.theta[batch["density"]].mean())

    @property
    def theta(self) -> Tensor:
        """Weights of the region terms, also for losses without them, so that their slopes can be compared."""
        return torch.tensor([0.25, 0.25, 0.85, 0.95])

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: Optimizer
    ) -> None:
        """Record the step."""
        super().on_before_optimizer_step(trainer, pl_module, optimizer)
        norm, threshold = self.steps[-1]
        self.rows.append((float(norm), float(threshold), self.batch_theta))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Print the row of the epoch."""
        norms, thresholds, thetas = torch.tensor(self.rows, dtype=torch.float64).unbind(dim=1)
        factors = clip_factor(norms, thresholds)
        values = [
            f"{100 * float((norms > thresholds).double().mean()):.0f}",
            f"{float(factors.mean()):.2f}",
            f"{float(norms.median()):.2f}",
            slope(thetas, norms),
            slope(thetas, norms * factors),
            f"{100 * float(trainer.callback_metrics['val/dsc']):.1f}",
        ]
        print("|", " | ".join([*self.labels, str(trainer.current_epoch + 1), *values]), "|", flush=True)
        self.rows = []


def slope(thetas: Tensor, norms: Tensor) -> str:
    """Return the slope of log(norm) on theta by least squares, with its standard error."""
    (coefficient, _), covariance = np.polyfit(thetas.numpy(), norms.log().numpy(), 1, cov=True)
    return f"{coefficient:.2f} ± {covariance[0, 0] ** 0.5:.2f}"


def config(root: Path, store: Path, loss: str, choice: str, epochs: int, seed: int) -> DictConfig:
    """Compose the config of a run."""
    overrides = [
        *("dataset=folder", f"dataset.root={root.resolve()}", f"dataset.store={store}", "dataset.size=128"),
        *("split=official", "theta=cbis_ddsm", "width=8", "lr=1e-3", f"epochs={epochs}", f"seed={seed}"),
        *("logger=csv", "dataset.workers=1", "trainer.enable_progress_bar=false", f"loss={loss}", *CHOICES[choice]),
    ]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", overrides)


def train(cfg: DictConfig, labels: tuple[str, str]) -> None:
    """Train without a run folder; prints the rows of the table."""
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    datamodule, segmenter = build_datamodule(cfg), build_segmenter(cfg)
    OmegaConf.set_struct(cfg, False)
    arguments = {name: cfg.callbacks.gradient_clipping[name] for name in ("percentile", "window")}
    del cfg.callbacks.gradient_clipping, cfg.callbacks.lr_monitor
    callbacks: list[Callback] = build_callbacks(cfg, [StepRecorder(labels, **arguments)])
    cfg.trainer.enable_checkpointing = False
    build_trainer(cfg, callbacks, []).fit(segmenter, datamodule=datamodule)


def print_norms_of_terms(cfg: DictConfig, n_images: int = 32) -> None:
    """Print the median norm of the gradient of each term of Density-ASP with respect to the logits of an image."""
    datamodule = build_datamodule(cfg)
    datamodule.setup()
    mask = torch.cat([batch["mask"] for batch in itertools.islice(datamodule.train_dataloader(), n_images // 4)])
    noise = torch.randn(mask.shape, generator=torch.Generator().manual_seed(0))
    predictions = {
        "unrelated to the mask": torch.full_like(mask, -1.0),
        "blurred mask": 8 * functional.avg_pool2d(mask, 9, 1, 4) - 4,
        "mask": 12 * mask - 6,
    }
    terms = build_segmenter(cfg).criterion.terms
    print("| logits |", " | ".join(terms), "|\n| --- |", " | ".join("---" for _ in terms), "|")
    for name, logits in predictions.items():
        logits = (logits + functional.avg_pool2d(9 * noise, 9, 1, 4)).requires_grad_()
        gradients = [torch.autograd.grad(term(logits, mask).sum(), logits)[0] for term in terms.values()]
        norms = [f"{float(gradient.flatten(1).norm(dim=1).median()):.4f}" for gradient in gradients]
        print("|", " | ".join([name, *norms]), "|")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=LOSSES)
    parser.add_argument("--choices", nargs="+", choices=CHOICES, default=[*CHOICES])
    parser.add_argument("--terms", action="store_true")
    parser.add_argument("--store", type=Path, help="folder of the prepared images; by default temporary")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        store = options.store or Path(temporary)
        if options.terms:
            print_norms_of_terms(config(options.root, store.resolve(), "density_asp", "norm 1", 1, options.seed))
            return
        print("|", " | ".join(HEADINGS), "|\n|", " | ".join("---" for _ in HEADINGS), "|", flush=True)
        for choice in options.choices:
            for loss in options.losses:
                cfg = config(options.root, store.resolve(), loss, choice, options.epochs, options.seed)
                train(cfg, (loss, choice))


if __name__ == "__main__":
    main()
