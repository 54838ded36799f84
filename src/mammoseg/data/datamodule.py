"""Store and split -> batches. Decodes nothing."""

from __future__ import annotations

from functools import cached_property

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mammoseg.data.dataset import Dataset
from mammoseg.data.sampling import Augment, Batches, Gathered, ResumableLoader, Samples
from mammoseg.data.split import Rows, Split, Splitter
from mammoseg.data.store import Store
from mammoseg.errors import UserError


class MammogramDataModule(lightning.LightningDataModule):
    """Batches {image (B, 1, H, W) float32, mask (B, 1, H, W) float32 in {0, 1}, density (B,) in 0..3, case (B,)}.

    `batch_size`: of all processes together. `case` is the row of the store. The order of training cases and their
    augmentation depend on `seed`, the epoch and the row alone, so that a resumed run goes on as if it had not
    stopped. Where the dataset is to lie on the device, batches are made there, of images that were brought once.
    Raises UserError for a batch of none, and for augmentation or processes where the images lie on the device.
    """

    def __init__(
        self,
        dataset: Dataset,
        splitter: Splitter,
        batch_size: int = 4,
        num_workers: int = 0,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size}, but it takes at least 1")
        if dataset.on_device and (augment is not None or num_workers):
            wrong = f"num_workers={num_workers}" if num_workers else "an augmentation"
            raise UserError(
                f"dataset.on_device=true makes batches where the images lie, which leaves nothing to {wrong}; "
                "set augment=none and num_workers=0, or dataset.on_device=false"
            )
        self.dataset = dataset
        self.splitter = splitter
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.augment = augment
        self.seed = seed
        self.store: Store
        self.split: Split
        self.ready = False

    def setup(self, stage: str | None = None) -> None:
        """Prepares the dataset if it is not yet; the trainer calls this before every stage."""
        if not self.ready:
            self.store = self.dataset.prepared()
            self.split = self.splitter(self.store.cases)
            self.ready = True

    def train_ratios(self) -> Tensor:
        """(N,) share of each training image that is mass: what ratio-based losses are fitted to."""
        return torch.from_numpy(self.store.mass_share[np.asarray(self.split.train)])

    def train_dataloader(self) -> DataLoader:
        return self.loader(self.split.train, train=True)

    def val_dataloader(self) -> DataLoader:
        return self.loader(self.split.val)

    def test_dataloader(self) -> DataLoader:
        return self.loader(self.split.test)

    def loader(self, rows: Rows, train: bool = False) -> DataLoader:
        trainer = self.trainer
        rank, ranks = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        batches = Batches(rows, self.batch_size, self.seed, train=train, rank=rank, ranks=ranks)
        if train and self.augment is not None:
            return ResumableLoader(Samples(self.store, self.augment, self.seed), batches, self.num_workers)
        return ResumableLoader(self.gathered, batches, self.num_workers)

    @cached_property
    def gathered(self) -> Gathered:
        """Shared by all loaders, so that the images are brought to the device once."""
        if self.dataset.on_device and self.trainer is not None:
            return Gathered(self.store, self.trainer.strategy.root_device)
        return Gathered(self.store, torch.device("cpu"))
