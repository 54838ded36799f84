"""Store and split -> batches. Decodes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from mammoseg.data.dataset import Dataset
from mammoseg.data.split import Rows, Split, Splitter
from mammoseg.data.store import Store
from mammoseg.errors import UserError

# (image (H, W), mask (H, W)), random generator seed -> the same, augmented
Augment = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
Key = tuple[int, int]  # (epoch, row of the store)


class MammogramDataModule(lightning.LightningDataModule):
    """Batches {image (B, 1, H, W) float32, mask (B, 1, H, W) float32 in {0, 1}, density (B,) in 0..3, case (B,)}.

    `case` is the row of the store. The order of training cases and their augmentation depend on `seed`,
    the epoch and the row alone, so that a resumed run goes on as if it had never stopped.
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
        return self.loader(self.split.train, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return self.loader(self.split.val)

    def test_dataloader(self) -> DataLoader:
        return self.loader(self.split.test)

    def loader(self, rows: Rows, shuffle: bool = False) -> DataLoader:
        samples = Samples(self.store, self.augment if shuffle else None, self.seed)
        return DataLoader(
            samples,
            batch_size=self.batch_size,
            sampler=EpochSampler(rows, shuffle, self.seed),
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )


class EpochSampler(Sampler[Key]):
    """Keys (epoch, row); shuffled anew in each epoch if asked, by the seed and the epoch alone."""

    def __init__(self, rows: Rows, shuffle: bool, seed: int) -> None:
        self.rows = rows
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Key]:
        rows = self.rows
        if self.shuffle:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(rows)
        return ((self.epoch, int(row)) for row in rows)


class Samples(TorchDataset):
    """Key (epoch, row) -> one sample of the store, augmented if asked."""

    def __init__(self, store: Store, augment: Augment | None, seed: int) -> None:
        self.store = store
        self.density = store.density
        self.augment = augment
        self.seed = seed

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, row = key
        image, mask = np.array(self.store.images[row]), np.array(self.store.masks[row])
        if self.augment is not None:
            draw = np.random.SeedSequence([self.seed, epoch, row]).generate_state(1)[0]
            image, mask = self.augment(image, mask, int(draw))
        return {
            "image": torch.from_numpy(image)[None],
            "mask": torch.from_numpy(mask)[None].float(),
            "density": int(self.density[row]),
            "case": row,
        }
