"""Assignment of the GPUs of a machine to the jobs of a sweep."""

from __future__ import annotations

import logging
import os

from omegaconf import DictConfig

log = logging.getLogger(__name__)

CUDA_DEVICES_VARIABLE = "CUDA_VISIBLE_DEVICES"
ALL_DEVICES_VARIABLE = "MAMMOSEG_VISIBLE_DEVICES"  # the GPUs visible before this process was restricted


def count_gpus() -> int:
    """Return the number of visible CUDA devices."""
    import torch

    return torch.cuda.device_count()


def assign_gpus(cfg: DictConfig, worker: int) -> None:
    """Restrict this process to some of the GPUs, assigned round-robin; several workers may use the same GPU.

    Args:
        cfg: Composed config of the job; `trainer.accelerator` and `trainer.devices` are used.
        worker: Index of the worker process, from 1.
    """
    if cfg.get("trainer") is None or cfg.trainer.accelerator == "cpu":
        return
    if ALL_DEVICES_VARIABLE not in os.environ:
        visible = os.environ.get(CUDA_DEVICES_VARIABLE) or ",".join(map(str, range(count_gpus())))
        os.environ[ALL_DEVICES_VARIABLE] = visible
    if devices := [device for device in os.environ[ALL_DEVICES_VARIABLE].split(",") if device]:
        n_devices = cfg.trainer.devices if isinstance(cfg.trainer.devices, int) else 1
        first = (worker - 1) * n_devices
        assigned = [devices[(first + index) % len(devices)] for index in range(min(n_devices, len(devices)))]
        os.environ[CUDA_DEVICES_VARIABLE] = ",".join(assigned)
        log.info("using GPU %s", ", ".join(assigned))
