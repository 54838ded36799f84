"""Assignment of the GPUs of one machine to the jobs of a sweep."""

from __future__ import annotations

import logging
import os

from omegaconf import DictConfig

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
ALL_VISIBLE = "MAMMOSEG_VISIBLE_DEVICES"  # the GPUs before this process was restricted


def count_gpus() -> int:
    """The number of CUDA devices that torch sees."""
    import torch

    return torch.cuda.device_count()


def assign_gpus(cfg: DictConfig, worker: int) -> None:
    """Restrict this process to its share of the GPUs, assigned round-robin; workers beyond their number share.

    Args:
        cfg: The job's configuration, of which `trainer.accelerator` and `trainer.devices` are used.
        worker: Index of this worker, from 1.
    """
    if cfg.get("trainer") is None or cfg.trainer.accelerator == "cpu":
        return
    if ALL_VISIBLE not in os.environ:
        os.environ[ALL_VISIBLE] = os.environ.get(VISIBLE) or ",".join(map(str, range(count_gpus())))
    if visible := [device for device in os.environ[ALL_VISIBLE].split(",") if device]:
        n_devices = cfg.trainer.devices if isinstance(cfg.trainer.devices, int) else 1
        first = (worker - 1) * n_devices
        assigned = [visible[(first + index) % len(visible)] for index in range(min(n_devices, len(visible)))]
        os.environ[VISIBLE] = ",".join(assigned)
        log.info("on GPU %s", ", ".join(assigned))
