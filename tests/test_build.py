"""Callbacks, loggers and schedulers are built from any combination of settings; invalid settings raise UserError."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from omegaconf import DictConfig

from mammoseg.build import (
    build_callbacks,
    build_criterion,
    build_datamodule,
    build_loggers,
    build_network,
    build_scheduler_config,
)
from mammoseg.callbacks.epoch_summary import EpochSummary
from mammoseg.callbacks.gradient_clipping import GradientClipping
from mammoseg.conf import conf_dir
from mammoseg.errors import UserError
from mammoseg.loggers.tensorboard import TensorBoardRunLogger
from mammoseg.loggers.wandb import WandbRunLogger


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", list(overrides))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], [EpochSummary, GradientClipping, LearningRateMonitor]),
        (["patience=3"], [EpochSummary, GradientClipping, LearningRateMonitor, EarlyStopping]),
        (["callbacks=[default,early_stopping]"], [EpochSummary, GradientClipping, LearningRateMonitor, EarlyStopping]),
        (["~callbacks.lr_monitor"], [EpochSummary, GradientClipping]),
        (["callbacks.lr_monitor=null"], [EpochSummary, GradientClipping]),
        (["callbacks=none"], []),
        (["callbacks=[]"], []),
    ],
)
def test_required_callbacks_come_last(overrides: list[str], expected: list[type[Callback]]) -> None:
    required = ModelCheckpoint()
    *configured, last = build_callbacks(config(*overrides), [required])
    assert [type(callback) for callback in configured] == expected
    assert last is required


@pytest.mark.parametrize(("override", "patience"), [("patience=3", 3), ("callbacks=early_stopping", 20)])
def test_patience_adds_early_stopping(override: str, patience: int) -> None:
    (callback,) = (callback for callback in build_callbacks(config(override)) if isinstance(callback, EarlyStopping))
    assert (callback.monitor, callback.mode, callback.patience) == ("val/dsc", "max", patience)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["logger=[wandb,tensorboard]", "logger.mode=online"], [WandbRunLogger, TensorBoardRunLogger]),
        (["logger=tensorboard"], [TensorBoardRunLogger]),
        (["logger=csv"], []),
        (["logger=[]"], []),
    ],
)
def test_loggers_are_built_from_the_config(overrides: list[str], expected: list[type], tmp_path: Path) -> None:
    loggers = build_loggers(config(*overrides), tmp_path, {}, {})
    assert [type(logger) for logger in loggers] == expected
    assert all(logger.mode == "online" for logger in loggers if isinstance(logger, WandbRunLogger))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["patience=3", "callbacks.early_stopping.mode=x"], r"callbacks\.early_stopping: .*got x"),
        (["+callbacks.custom.factor=2"], r"callbacks\.custom must be a Lightning callback with a _target_"),
        (["+callbacks.lr_monitor.factor=2"], r"callbacks\.lr_monitor: .*unexpected keyword argument 'factor'"),
    ],
)
def test_invalid_callbacks_raise(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_callbacks(config(*overrides))


def test_invalid_loggers_raise(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"logger\.tensorboard: .*unexpected keyword argument 'port'"):
        build_loggers(config("logger=tensorboard", "+logger.tensorboard.port=1"), tmp_path, {}, {})


def test_a_network_without_parameters_raises() -> None:
    cfg = DictConfig({"model": {"_target_": "torch.nn.Identity"}})
    with pytest.raises(UserError, match=r"must have parameters to train, got torch\.nn\.Identity"):
        build_network(cfg)


def test_a_target_that_hydra_refuses_is_one_sentence() -> None:
    cfg = DictConfig({"model": {"_target_": "os.system", "command": "true"}})
    with pytest.raises(UserError, match=r"model: Hydra does not allow the _target_ os\.system"):
        build_network(cfg)


def test_invalid_scheduler_interval_raises() -> None:
    with pytest.raises(UserError, match=r"scheduler\.interval must be one of epoch, step, got week"):
        build_scheduler_config(config("scheduler.interval=week").scheduler)


@pytest.mark.parametrize(
    ("build", "section", "target", "message"),
    [
        (build_network, "model", "builtins.dict", "model must be a torch.nn.Module, got builtins.dict"),
        (
            build_criterion,
            "loss",
            "monai.losses.DiceLoss",
            "loss must be a mammoseg.losses.Criterion, got monai.losses",
        ),
        (build_datamodule, "split", "builtins.dict", "split must be a function of the cases"),
    ],
)
def test_a_part_of_the_wrong_kind_raises(
    build: Callable[[DictConfig], object], section: str, target: str, message: str
) -> None:
    cfg = config()
    cfg[section] = {"_target_": target}
    with pytest.raises(UserError, match=message):
        build(cfg)
