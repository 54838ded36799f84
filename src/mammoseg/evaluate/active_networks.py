"""Selection of the networks of an ensemble that predict the images of each test loader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from typing_extensions import override

from mammoseg.mean_network import MeanNetwork


class ActiveNetworks(Callback):
    """Activates the networks of a `MeanNetwork` for each test loader.

    Args:
        networks: Indices of the networks for each test loader.
    """

    def __init__(self, networks: Sequence[tuple[int, ...]]) -> None:
        self.networks = list(networks)

    @override
    def on_test_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Activate the networks of the loader."""
        network = pl_module.net
        assert isinstance(network, MeanNetwork)
        network.active = self.networks[dataloader_idx]
