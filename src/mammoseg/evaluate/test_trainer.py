"""Trainer of the tests of `evaluate`."""

from __future__ import annotations

import logging

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

log = logging.getLogger(__name__)


def build_test_trainer(cfg: DictConfig, callbacks: list[Callback]) -> lightning.Trainer:
    """Return a trainer on a single device that writes nothing by itself."""
    return lightning.Trainer(
        accelerator=available_accelerator(cfg.trainer.accelerator),
        devices=1,
        precision=cfg.trainer.precision,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )


def available_accelerator(accelerator: str) -> str:
    """Return the accelerator of the training run if this machine has it, otherwise "cpu"."""
    if accelerator in ("auto", "cpu") or torch.accelerator.is_available():
        return accelerator
    log.warning("no accelerator is available, testing on the CPU; results may differ by rounding")
    return "cpu"
