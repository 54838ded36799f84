"""Trainer for nnU-Net v2 with a given number of epochs and bfloat16 convolutions on CPUs.

nnU-Net finds the class with `nnUNet_extTrainer=benchmarks/nnunet` and `nnUNetv2_train ... -tr ShortTrainer`. The
environment variables EPOCHS and STEPS_PER_EPOCH set the length of the training, and thereby that of the polynomial
learning-rate schedule.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor

CPU = torch.device("cpu")


class ShortTrainer(nnUNetTrainer):  # type: ignore[misc]  # Any, since nnU-Net is in another environment
    """nnU-Net's trainer with its defaults, except for the length of the training and the precision on CPUs.

    nnU-Net trains in float16 on GPUs and in float32 on CPUs; here, CPUs compute convolutions in bfloat16, like the runs
    of mammoseg that it is compared with.
    """

    def __init__(  # nnU-Net reads the names of the arguments
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = CPU,
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ["EPOCHS"])
        self.num_iterations_per_epoch = int(os.environ["STEPS_PER_EPOCH"])
        self.num_val_iterations_per_epoch = 16
        self.save_every = 1

    def initialize(self) -> None:
        """Build the network, the optimizer and the loss."""
        super().initialize()
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        self.print_to_log_file(f"network: {parameters:,} parameters")
        if self.device.type == "cpu":
            if threads := os.environ.get("OMP_NUM_THREADS"):
                torch.set_num_threads(int(threads))  # nnU-Net has set one thread per core
            self.network.forward = in_bfloat16(self.network.forward)


def in_bfloat16(forward: Any) -> Any:
    """Compute the forward function of a network in bfloat16 on CPUs; the logits, a list, are returned in float32."""

    def autocast_forward(image: Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = forward(image)
        return [output.float() for output in outputs] if isinstance(outputs, list | tuple) else outputs.float()

    return autocast_forward
