"""Build the objects of a run from its composed config."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import Profiler
from omegaconf import DictConfig, OmegaConf
from torch import nn

from mammoseg import processes, validate
from mammoseg.callbacks.checkpoint_io import AtomicCheckpointIO
from mammoseg.callbacks.progress_bar import TrainingProgressBar
from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.errors import UserError
from mammoseg.launch import distributed, loky
from mammoseg.loggers.base import RunLogger
from mammoseg.losses import Criterion
from mammoseg.losses.density_priority import validate_theta
from mammoseg.segmenter import Segmenter
from mammoseg.terminal import console

INTERVALS = ("epoch", "step")
PROFILE_NAME = "profile"  # of fit-profile.txt, the durations of the training
BLOCKED_TARGET = re.compile(r"Target '([^']+)' is blocklisted")


def build_datamodule(cfg: DictConfig, *, training: bool = False) -> MammogramDataModule:
    """Build the datamodule with dataset, split and augmentation.

    Args:
        cfg: Composed config, or the config of a checkpoint.
        training: Whether to build the sampler of the training images as well. If False, its class is not instantiated.

    Raises:
        UserError: If a setting is invalid.
    """
    processes.reserve_open_files(cfg.num_workers)
    splitter = build_section(cfg, "split")
    if not callable(splitter):
        raise UserError(f"split must be a function of the cases, see mammoseg.data.split, got {_target(cfg.split)}")
    return MammogramDataModule(
        dataset=build_section(cfg, "dataset"),
        splitter=splitter,
        batch_size=cfg.batch_size,
        num_workers=cfg.num_workers,
        augment=build_section(cfg, "augment"),
        seed=cfg.seed,
        sampler=build_section(cfg, "sampler") if training else None,
    )


def build_segmenter(cfg: DictConfig, *, training: bool = True, net: nn.Module | None = None) -> Segmenter:
    """Build the LightningModule with network and criterion.

    Args:
        cfg: Composed config, or the config of a checkpoint.
        training: Whether to build optimizer and scheduler as well. They are not needed to test a checkpoint;
            if False, their classes are not instantiated.
        net: The network; None builds that of the config.

    Raises:
        UserError: If a setting is invalid.
    """
    if str(cfg.trainer.precision) in ("bf16-true", "16-true"):
        raise UserError(
            "trainer.precision must keep the loss in 32 bits, such as 32-true or bf16-mixed, "
            f"got {cfg.trainer.precision}"
        )
    if "theta" in cfg:
        validate_theta(cfg.theta["values"])  # the loss uses acr1 to acr4 and would ignore a fifth value
    return Segmenter(
        net=build_network(cfg) if net is None else net,
        criterion=build_criterion(cfg),
        optimizer=build_section(cfg, "optimizer") if training else torch.optim.Adam,
        scheduler=build_scheduler_config(cfg.scheduler) if training else None,
        threshold=cfg.threshold,
        channels_last=cfg.channels_last,
        compile=torch_compile_mode(cfg),
        layer_decay=cfg.layer_decay if training else 1.0,
    )


def build_section(cfg: DictConfig, name: str) -> Any:
    """Build the object that a section of the config describes.

    Args:
        cfg: Composed config, or the config of a checkpoint.
        name: Name of the section, such as "model".

    Raises:
        UserError: If the class rejects its arguments.
    """
    with _user_errors(name):
        return instantiate(cfg[name])


def build_network(cfg: DictConfig) -> nn.Module:
    """Build the network.

    Raises:
        UserError: If `model` is not a `torch.nn.Module`.
    """
    net = build_section(cfg, "model")
    if not isinstance(net, nn.Module):
        raise UserError(f"model must be a torch.nn.Module, got {_target(cfg.model)}")
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise UserError(f"model must have parameters to train, got {_target(cfg.model)}, which has none")
    return net


def build_criterion(cfg: DictConfig) -> Criterion:
    """Build the loss.

    Raises:
        UserError: If `loss` is not a `Criterion`.
    """
    criterion = build_section(cfg, "loss")
    if not isinstance(criterion, Criterion):
        raise UserError(
            f"loss must be a mammoseg.losses.Criterion, got {_target(cfg.loss)}; make it a term of a Criterion, as "
            "conf/loss/focal.yaml does"
        )
    return criterion


def _target(node: DictConfig) -> str:
    return str(node.get("_target_"))


def build_scheduler_config(node: DictConfig | None) -> dict[str, Any] | None:
    """Build Lightning's lr_scheduler configuration, with a partial `scheduler` that lacks the optimizer.

    Args:
        node: A config of the group conf/scheduler: `scheduler` (a partial), `interval`, `monitor` and optionally
            `frequency`.

    Returns:
        The configuration, or None for a constant learning rate.

    Raises:
        UserError: If `interval` is neither "epoch" nor "step".
    """
    if node is None:
        return None
    validate.one_of("scheduler.interval", node.interval, INTERVALS)
    with _user_errors("scheduler"):
        return dict(instantiate(node, _convert_="all"))


def torch_compile_mode(cfg: DictConfig) -> str | None:
    """Return the mode of torch.compile, or None.

    Args:
        cfg: Composed config; configs of version 0.1 may lack `compile`.

    Raises:
        UserError: If the combination with `trainer.precision` gives wrong gradients.
    """
    mode: str | None = OmegaConf.select(cfg, "compile")
    on_cpu = cfg.trainer.accelerator == "cpu" or not torch.accelerator.is_available()
    if mode is not None and on_cpu and "16" in str(cfg.trainer.precision):
        # With torch 2.13, gradients of the compiled AU-Net are NaN, and sometimes its logits; see benchmarks/step.py.
        raise UserError(
            f"compile={mode} with trainer.precision={cfg.trainer.precision} gives wrong gradients on a CPU; "
            "set compile=null or trainer.precision=32-true"
        )
    return mode


def build_callbacks(cfg: DictConfig, required: Sequence[Callback] = ()) -> list[Callback]:
    """Build the callbacks of `cfg.callbacks`, followed by the required ones.

    Args:
        cfg: Composed config. `cfg.callbacks` maps names to callbacks; entries that are null or instantiated as None
            are skipped.
        required: Callbacks that cannot be removed by a setting. They come last, so that a checkpoint that one of them
            saves at the end of a batch includes the changes of the others.

    Returns:
        The callbacks in the order in which Lightning calls them, except that it calls checkpoint callbacks last.

    Raises:
        UserError: If an entry cannot be built with its settings, or is not a Lightning callback.
    """
    callbacks: list[Callback] = []
    for name, node in (cfg.get("callbacks") or {}).items():
        with _user_errors(f"callbacks.{name}"):
            callback = instantiate(node)
        if isinstance(callback, Callback):
            callbacks.append(callback)
        elif callback is not None:
            raise UserError(
                f"callbacks.{name} must be a Lightning callback with a _target_, got {type(callback).__name__}"
            )
    return [*callbacks, *required]


def build_loggers(
    cfg: DictConfig, run_folder: Path, run_info: dict[str, Any], settings: dict[str, Any]
) -> list[RunLogger]:
    """Build the experiment loggers, the entries of `cfg.logger` with a `_target_`.

    Args:
        cfg: Composed config.
        run_folder: Run folder, in which the loggers write.
        run_info: Identity of the run: run, dataset, method, model, loss, fold, seed, experiment.
        settings: Public settings of the run, see `runs.settings.public`.

    Returns:
        The loggers; they have not created any files yet.

    Raises:
        UserError: If a logger rejects its settings.
    """
    loggers = []
    for name, node in (cfg.get("logger") or {}).items():
        if isinstance(node, DictConfig) and "_target_" in node:
            with _user_errors(f"logger.{name}"):
                # Partial, since `instantiate` would convert the settings to a config.
                loggers.append(
                    instantiate(node, _partial_=True)(folder=run_folder, run_info=run_info, settings=settings)
                )
    return loggers


def build_trainer(cfg: DictConfig, callbacks: Sequence[Callback], loggers: Sequence[Logger]) -> lightning.Trainer:
    """Build the Lightning trainer with atomic checkpoints and the cluster environment of this process.

    Args:
        cfg: Composed config.
        callbacks: Callbacks, from `build_callbacks`.
        loggers: Lightning loggers.

    Raises:
        UserError: If Lightning rejects the trainer's settings.
    """
    ddp_kwargs: dict[str, Any] = {}
    if (
        distributed.is_distributed() or "sync_batchnorm" in cfg.trainer
    ):  # trainer=ddp with one device is not distributed
        on_gpu = cfg.trainer.accelerator != "cpu" and torch.cuda.is_available()
        ddp_kwargs["sync_batchnorm"] = cfg.trainer.get("sync_batchnorm", True) and on_gpu
        ddp_kwargs["use_distributed_sampler"] = False
    # The bars of parallel jobs would overwrite each other.
    show_progress = cfg.trainer.enable_progress_bar and console().is_terminal and not loky.is_loky_worker()
    with _user_errors("trainer"):
        # Partial, since OmegaConf would convert every argument, which fails for Lightning's DummyLogger.
        trainer: lightning.Trainer = instantiate(cfg.trainer, _partial_=True)(
            callbacks=[*([TrainingProgressBar()] if show_progress else []), *callbacks],
            plugins=[AtomicCheckpointIO(), distributed.cluster_environment()],
            logger=list(loggers),
            enable_progress_bar=show_progress,
            **ddp_kwargs,
        )
    if cfg.trainer.get("profiler") and loggers:  # in the folder of the first logger, the run folder
        profiler: Profiler = trainer.profiler  # type: ignore[attr-defined]  # set by Lightning's connector
        profiler.filename = PROFILE_NAME
    return trainer


@contextmanager
def _user_errors(group: str) -> Iterator[None]:
    """Convert the errors of a constructor that rejects its arguments to a UserError that names `group`."""
    argument_errors = (ValueError, TypeError, LookupError, AttributeError, MisconfigurationException)
    try:
        yield
    except InstantiationException as error:
        if match := BLOCKED_TARGET.search(str(error)):
            raise UserError(
                f"{group}: Hydra does not allow the _target_ {match.group(1)}, which can run any code; name another one"
            ) from error
        if not isinstance(error.__cause__, argument_errors):
            raise
        reason = " ".join(str(error.__cause__).split()) or type(error.__cause__).__name__
        raise UserError(f"{group}: {reason}; correct the {group}.* settings") from error
    except argument_errors as error:
        raise UserError(f"{group}: {error}; correct the {group}.* settings") from error
