"""Arguments of `lightning.Trainer`."""

from __future__ import annotations

from mammoseg.schema.collection_types import ListOf, either
from mammoseg.schema.text_types import DeviceIndices, Duration, LocalPath
from mammoseg.schema.types import Boolean, Integer, Number, one_of

BATCHES = either(Integer(1), Number(0, 1, exclusive_minimum=True))
# Strategies with one process per device that all hold the complete network, as checkpoints and metrics require.
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")
TRAINER = {
    "max_epochs": Integer(1, 1_000_000),
    "min_epochs": Integer(0, 1_000_000, optional=True),
    "max_steps": either(one_of(-1), Integer(1)),
    "min_steps": Integer(0, optional=True),
    "accelerator": one_of("auto", "cpu", "gpu", "cuda", "mps"),
    "devices": either(one_of("auto", -1), Integer(1, 4096), ListOf(Integer(0), 1), DeviceIndices()),
    "num_nodes": Integer(1, 65536),
    "strategy": one_of(*STRATEGIES),
    "precision": one_of("32-true", "bf16-mixed", "16-mixed", 32, "32"),
    "gradient_clip_val": Number(0, optional=True),
    "gradient_clip_algorithm": one_of("norm", "value", None),
    "accumulate_grad_batches": Integer(1),
    "num_sanity_val_steps": Integer(-1),
    "log_every_n_steps": Integer(1),
    "check_val_every_n_epoch": Integer(1),
    "limit_train_batches": BATCHES,
    "limit_val_batches": BATCHES,
    "val_check_interval": either(BATCHES, one_of(None)),
    "max_time": Duration(),
    "reload_dataloaders_every_n_epochs": Integer(0),
    "enable_model_summary": Boolean(),
    "enable_progress_bar": Boolean(),
    "sync_batchnorm": Boolean(),
    "use_distributed_sampler": Boolean(),
    "deterministic": either(Boolean(), one_of("warn", None)),
    "benchmark": either(Boolean(), one_of(None)),
    "detect_anomaly": Boolean(),
    "profiler": one_of("simple", "advanced", "pytorch", None),
    "default_root_dir": LocalPath(optional=True),
    # A run needs its checkpoints, its validation and its complete test.
    "limit_test_batches": one_of(1.0, None),
    "fast_dev_run": one_of(False),
    "enable_checkpointing": one_of(True),
    "barebones": one_of(False),
    "overfit_batches": one_of(0, 0.0),
    # set by mammoseg
    "callbacks": one_of(None),
    "logger": one_of(None),
    "plugins": one_of(None),
    "model_registry": one_of(None),
}
