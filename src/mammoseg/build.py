"""From a composed config to the objects that it names."""

from __future__ import annotations

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.errors import UserError
from mammoseg.losses.priority import four_numbers
from mammoseg.segmenter import Segmenter


def build_datamodule(cfg: DictConfig) -> MammogramDataModule:
    return MammogramDataModule(
        dataset=instantiate(cfg.dataset),
        splitter=instantiate(cfg.split),
        batch_size=cfg.batch_size,
        num_workers=cfg.num_workers,
        augment=instantiate(cfg.augment),
        seed=cfg.seed,
    )


def build_segmenter(cfg: DictConfig) -> Segmenter:
    if str(cfg.trainer.precision) in ("bf16-true", "16-true"):
        raise UserError(
            f"trainer.precision={cfg.trainer.precision} would round theta and the loss's other numbers to 16 bits; "
            "take bf16-mixed"
        )
    if "theta" in cfg:
        four_numbers(cfg.theta["values"])  # the loss takes them one by one, and would not see a fifth
    return Segmenter(
        net=instantiate(cfg.model),
        criterion=instantiate(cfg.loss),
        optimizer=instantiate(cfg.optimizer),
        scheduler=instantiate(cfg.scheduler),
        threshold=cfg.threshold,
        channels_last=cfg.channels_last,
        compile=compiler(cfg),
    )


def compiler(cfg: DictConfig) -> str | None:
    """The mode of torch.compile, which older checkpoints do not have."""
    mode: str | None = OmegaConf.select(cfg, "compile")
    on_cpu = cfg.trainer.accelerator == "cpu" or not torch.accelerator.is_available()
    if mode is not None and on_cpu and "16" in str(cfg.trainer.precision):
        # Seen with torch 2.13: the compiled AU-Net's gradients are NaN, and at times its logits; benchmarks/step.py.
        raise UserError(
            f"compile={mode} with trainer.precision={cfg.trainer.precision} gives wrong gradients on a CPU; "
            "leave one of the two out"
        )
    return mode
