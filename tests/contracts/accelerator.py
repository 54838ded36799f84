"""Device on which the accelerator tests run: the GPU if there is one, otherwise the CPU."""

from __future__ import annotations

import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
EPOCHS = 2
# A run of a few seconds. Batches of 3, so that the last batch of training, validation and test is incomplete.
TINY_RUN = [
    *("width=2", "dataset.source.cases=30", "dataset.source.height=208", "dataset.size=64", "batch_size=3"),
    *(f"epochs={EPOCHS}", "logger=csv", "trainer.enable_progress_bar=false"),
]
