"""PreparedStore and split -> batches."""

from __future__ import annotations

from functools import cached_property

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mammoseg.data.dataset import DatasetSpec
from mammoseg.data.sampling import Augment, AugmentedDataset, BatchDataset, ShardedBatchSampler, StatefulDataLoader
from mammoseg.data.split import Indices, Split, Splitter
from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError
from mammoseg.validate import positive_int


class MammogramDataModule(lightning.LightningDataModule):
    """Batches {image (B, 1, H, W) float32, mask (B, 1, H, W) float32 in {0, 1}, density (B,) in 0..3, case (B,)}.

    `case` is the row of the store. The order of training cases and their augmentation depend on `seed`, the epoch and
    the row alone, so that a resumed run equals an uninterrupted one. With dataset.on_device, the images are copied to
    the device once and batches are made there.

    Args:
        dataset: The images.
        splitter: Cases -> parts.
        batch_size: Of all processes together.
        num_workers: Processes that load augmented samples.
        augment: Applied to training samples; None for none.
        seed: Of shuffling and augmentation.

    Raises:
        UserError: For an invalid batch size, or for augmentation or workers with dataset.on_device.
    """

    def __init__(
        self,
        dataset: DatasetSpec,
        splitter: Splitter,
        batch_size: int = 4,
        num_workers: int = 0,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if dataset.on_device and (augment is not None or num_workers):
            conflict = f"num_workers={num_workers}" if num_workers else "augmentation"
            raise UserError(
                f"dataset.on_device=true makes batches on the device and cannot be combined with {conflict}; "
                "set augment=none and num_workers=0, or dataset.on_device=false"
            )
        self.dataset = dataset
        self.splitter = splitter
        self.batch_size = positive_int("batch_size", batch_size)
        self.num_workers = num_workers
        self.augment = augment
        self.seed = seed
        self.store: PreparedStore
        self.split: Split
        self.is_set_up = False

    def setup(self, stage: str | None = None) -> None:
        """Prepare the dataset if that has not been done; the trainer calls this before every stage."""
        if not self.is_set_up:
            self.store = self.dataset.open_store()
            self.split = self.splitter(self.store.cases)
            self.is_set_up = True

    def train_mass_fractions(self) -> Tensor:
        """(N,) fraction of each training image that is mass; ratio-based losses are fitted to it."""
        return torch.from_numpy(self.store.mass_fraction[np.asarray(self.split.train)])

    def train_dataloader(self) -> DataLoader:
        return self._loader(self.split.train, train=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.split.val)

    def test_dataloader(self) -> DataLoader:
        return self._loader(self.split.test)

    def _loader(self, rows: Indices, train: bool = False) -> DataLoader:
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        sampler = ShardedBatchSampler(rows, self.batch_size, self.seed, train=train, rank=rank, world_size=world_size)
        if train and self.augment is not None:
            return StatefulDataLoader(AugmentedDataset(self.store, self.augment, self.seed), sampler, self.num_workers)
        return StatefulDataLoader(self.batch_dataset, sampler, self.num_workers)

    @cached_property
    def batch_dataset(self) -> BatchDataset:
        """Shared by all loaders, so that the images are copied to the device once."""
        if self.dataset.on_device and self.trainer is not None:
            return BatchDataset(self.store, self.trainer.strategy.root_device)
        return BatchDataset(self.store, torch.device("cpu"))
