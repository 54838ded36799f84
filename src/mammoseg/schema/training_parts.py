"""Arguments of optimizers, schedulers, callbacks and loggers; see `parts.py`."""

from __future__ import annotations

from mammoseg.schema.collection_types import ListOf, MappingOf, either
from mammoseg.schema.part_types import POSITIVE, Part
from mammoseg.schema.types import Boolean, Integer, Number, SettingType, Text, one_of

ADAM: dict[str, SettingType] = {
    "lr": Number(0, 100),
    "betas": ListOf(Number(0, 1, exclusive_maximum=True), 2, 2),
    "eps": Number(0, 1),
    "weight_decay": Number(0, 100),
    "amsgrad": Boolean(),
    "fused": either(Boolean(), one_of(None)),
    "foreach": either(Boolean(), one_of(None)),
}

TRAINING_PARTS: dict[str, Part] = {
    "torch.optim.Adam": Part(ADAM),
    "torch.optim.AdamW": Part(ADAM),
    "torch.optim.SGD": Part(
        {
            "lr": Number(0, 100),
            "momentum": Number(0, 1),
            "dampening": Number(0, 1),
            "weight_decay": Number(0, 100),
            "nesterov": Boolean(),
            "fused": either(Boolean(), one_of(None)),
            "foreach": either(Boolean(), one_of(None)),
        }
    ),
    "torch.optim.lr_scheduler.StepLR": Part({"step_size": Integer(1), "gamma": Number(0, 1, exclusive_minimum=True)}),
    "torch.optim.lr_scheduler.ReduceLROnPlateau": Part(
        {
            "mode": one_of("min", "max"),
            "factor": Number(0, 1, exclusive_minimum=True, exclusive_maximum=True),
            "patience": Integer(0),
            "threshold": Number(0),
            "cooldown": Integer(0),
            "min_lr": Number(0),
        }
    ),
    "torch.optim.lr_scheduler.OneCycleLR": Part(
        {
            "max_lr": Number(0, 100, exclusive_minimum=True),
            "total_steps": either(Integer(1), one_of("auto")),
            "pct_start": Number(0, 1, exclusive_minimum=True, exclusive_maximum=True),
        }
    ),
    "mammoseg.schedulers.cosine_with_warmup": Part(
        {
            "total_steps": either(Integer(1), one_of("auto")),
            "warmup": Number(0, 1, exclusive_maximum=True),
        }
    ),
    "mammoseg.schedulers.polynomial_with_warmup": Part(
        {
            "total_steps": either(Integer(1), one_of("auto")),
            "power": POSITIVE,
            "warmup": Number(0, 1, exclusive_maximum=True),
        }
    ),
    "mammoseg.schedulers.step_with_warmup": Part(
        {
            "steps_per_epoch": either(Integer(1), one_of("auto")),
            "step_size": Integer(1),
            "gamma": Number(0, 1, exclusive_minimum=True),
            "warmup_epochs": Number(0, 1_000_000),
        }
    ),
    "mammoseg.callbacks.early_stopping.early_stopping": Part(
        {
            "monitor": Text(),
            "mode": one_of("min", "max"),
            "patience": Integer(1, optional=True),
            "min_delta": Number(0),
        }
    ),
    "mammoseg.callbacks.ema.EMA": Part({"decay": Number(0, 1, exclusive_minimum=True, exclusive_maximum=True)}),
    "mammoseg.callbacks.epoch_summary.EpochSummary": Part({}),
    "mammoseg.callbacks.freeze_encoder.FreezeEncoder": Part({"epochs": Integer(1, 1_000_000, optional=True)}),
    "mammoseg.callbacks.gradient_clipping.GradientClipping": Part(
        {"percentile": Number(0, 100, optional=True), "window": Integer(1, 1_000_000, optional=True)}
    ),
    "mammoseg.callbacks.loss_term_gradients.LossTermGradients": Part({"every_n_steps": Integer(1, 1_000_000)}),
    "lightning.pytorch.callbacks.GradientAccumulationScheduler": Part({"scheduling": MappingOf(Integer(1))}),
    "lightning.pytorch.callbacks.LearningRateMonitor": Part({"logging_interval": one_of("epoch", "step", None)}),
    "mammoseg.loggers.wandb.WandbRunLogger": Part(
        {
            "mode": one_of("offline", "online", "disabled"),
            "project": Text(),
            "entity": Text(optional=True),
            "artifacts": Boolean(),
        }
    ),
    "mammoseg.loggers.tensorboard.TensorBoardRunLogger": Part({}),
}
