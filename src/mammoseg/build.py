"""Builds the objects that a composed config describes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from mammoseg import validate
from mammoseg.callbacks.checkpoint_io import AtomicCheckpointIO
from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.errors import UserError
from mammoseg.launch import distributed
from mammoseg.loggers.base import RunLogger
from mammoseg.losses.priority import validate_theta
from mammoseg.segmenter import Segmenter

INTERVALS = ("epoch", "step")


def build_datamodule(cfg: DictConfig) -> MammogramDataModule:
    return MammogramDataModule(
        dataset=instantiate(cfg.dataset),
        splitter=instantiate(cfg.split),
        batch_size=cfg.batch_size,
        num_workers=cfg.num_workers,
        augment=instantiate(cfg.augment),
        seed=cfg.seed,
    )


def build_segmenter(cfg: DictConfig, *, training: bool = True) -> Segmenter:
    """Build the module with network and criterion.

    Args:
        cfg: The composed config, or the one of a checkpoint.
        training: Whether to build optimizer and scheduler as well. Testing a checkpoint needs neither, so it does not
            instantiate the classes that the checkpoint names for them.

    Raises:
        UserError: If a setting is invalid.
    """
    if str(cfg.trainer.precision) in ("bf16-true", "16-true"):
        raise UserError(
            f"trainer.precision={cfg.trainer.precision} would round theta and the loss's other numbers to 16 bits; "
            "take bf16-mixed"
        )
    if "theta" in cfg:
        validate_theta(cfg.theta["values"])  # the loss takes them one by one, and would not see a fifth
    return Segmenter(
        net=instantiate(cfg.model),
        criterion=instantiate(cfg.loss),
        optimizer=instantiate(cfg.optimizer) if training else torch.optim.Adam,
        scheduler=build_scheduler_config(cfg.scheduler) if training else None,
        threshold=cfg.threshold,
        channels_last=cfg.channels_last,
        compile=torch_compile_mode(cfg),
    )


def build_scheduler_config(node: DictConfig | None) -> dict[str, Any] | None:
    """Build Lightning's lr_scheduler configuration, whose `scheduler` still waits for its optimizer.

    Args:
        node: A choice of conf/scheduler: `scheduler`, a partial, `interval` and `monitor`, optionally `frequency`.

    Returns:
        The configuration, or None for a constant learning rate.

    Raises:
        UserError: If `interval` is neither "epoch" nor "step".
    """
    if node is None:
        return None
    validate.one_of("scheduler.interval", node.interval, INTERVALS)
    with _explained("scheduler"):
        return dict(instantiate(node, _convert_="all"))


def torch_compile_mode(cfg: DictConfig) -> str | None:
    """The mode of torch.compile, or None; checkpoints of early versions have no such setting."""
    mode: str | None = OmegaConf.select(cfg, "compile")
    on_cpu = cfg.trainer.accelerator == "cpu" or not torch.accelerator.is_available()
    if mode is not None and on_cpu and "16" in str(cfg.trainer.precision):
        # Seen with torch 2.13: the compiled AU-Net's gradients are NaN, and at times its logits; benchmarks/step.py.
        raise UserError(
            f"compile={mode} with trainer.precision={cfg.trainer.precision} gives wrong gradients on a CPU; "
            "leave one of the two out"
        )
    return mode


def build_callbacks(cfg: DictConfig, required: Sequence[Callback] = ()) -> list[Callback]:
    """Build the callbacks of `cfg.callbacks`, followed by those that a run cannot do without.

    Args:
        cfg: The composed config. `cfg.callbacks` maps names to callbacks; a null entry, and one that is built as None,
            are skipped.
        required: Callbacks that no setting removes. They come last, so that a checkpoint that one of them saves at the
            end of a batch contains what the others did.

    Returns:
        The callbacks in the order in which Lightning calls them, apart from checkpoint callbacks, which it calls last.

    Raises:
        UserError: If an entry cannot be built with its settings, or is not a Lightning callback.
    """
    chosen: list[Callback] = []
    for name, node in (cfg.get("callbacks") or {}).items():
        with _explained(f"callbacks.{name}"):
            callback = instantiate(node)
        if isinstance(callback, Callback):
            chosen.append(callback)
        elif callback is not None:
            raise UserError(
                f"callbacks.{name} must be a Lightning callback with a _target_, got {type(callback).__name__}"
            )
    return [*chosen, *required]


def build_loggers(
    cfg: DictConfig, run_folder: Path, run_info: dict[str, Any], settings: dict[str, Any]
) -> list[RunLogger]:
    """Build the experiment loggers of `cfg.logger`: each of its entries that has a `_target_`.

    Args:
        cfg: The composed config.
        run_folder: Folder of the run, in which the loggers write.
        run_info: Identity of the run: run, dataset, method, model, loss, fold, seed, experiment.
        settings: Public settings of the run, see `runs.settings.public`.

    Returns:
        The loggers, which have not created any file yet.

    Raises:
        UserError: If a logger rejects its settings.
    """
    loggers = []
    for name, node in (cfg.get("logger") or {}).items():
        if isinstance(node, DictConfig) and "_target_" in node:
            with _explained(f"logger.{name}"):
                # Partial: as arguments of `instantiate` the settings would be converted to a config.
                loggers.append(
                    instantiate(node, _partial_=True)(folder=run_folder, run_info=run_info, settings=settings)
                )
    return loggers


def build_trainer(cfg: DictConfig, callbacks: Sequence[Callback], loggers: Sequence[Logger]) -> lightning.Trainer:
    """Build the trainer with atomic checkpoints and the cluster environment of this process.

    Args:
        cfg: The composed config.
        callbacks: Callbacks, from `build_callbacks`.
        loggers: Lightning loggers.

    Raises:
        UserError: If Lightning rejects the trainer's settings.
    """
    ddp_kwargs: dict[str, Any] = {}
    if distributed.is_distributed():
        ddp_kwargs["sync_batchnorm"] = cfg.trainer.get("sync_batchnorm", True) and torch.cuda.is_available()
        ddp_kwargs["use_distributed_sampler"] = False
    with _explained("trainer"):
        # Partial: OmegaConf would try to convert every argument, which fails for Lightning's DummyLogger.
        return instantiate(cfg.trainer, _partial_=True)(
            callbacks=list(callbacks),
            plugins=[AtomicCheckpointIO(), distributed.cluster_environment()],
            logger=list(loggers),
            enable_progress_bar=cfg.trainer.enable_progress_bar and sys.stdout.isatty(),
            **ddp_kwargs,
        )


@contextmanager
def _explained(group: str) -> Iterator[None]:
    """Turn errors of a constructor that rejects its settings into a UserError that names `group`."""
    rejected = (ValueError, TypeError, MisconfigurationException)
    try:
        yield
    except InstantiationException as error:
        if not isinstance(error.__cause__, rejected):
            raise
        raise UserError(f"{group}: {error.__cause__}; correct the {group}.* settings") from error
    except rejected as error:
        raise UserError(f"{group}: {error}; correct the {group}.* settings") from error
