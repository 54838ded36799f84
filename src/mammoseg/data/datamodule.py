"""Lightning data module: from a prepared store and a split to batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mammoseg.data.dataset import DatasetSpec
from mammoseg.data.samplers import Strata, TrainSampler
from mammoseg.data.sampling import Augment, AugmentedDataset, BatchDataset, ShardedBatchSampler, StatefulDataLoader
from mammoseg.data.split import Splitter
from mammoseg.data.split_result import Indices, Selection, Split
from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError
from mammoseg.validate import positive_int


class MammogramDataModule(lightning.LightningDataModule):
    """Data module for a mammography dataset.

    A batch is a dictionary with `image` (B, 1, H, W) float32, `mask` (B, 1, H, W) float32 in {0, 1}, `density` (B,)
    int64 in 0..3, `density_score` (B,) float32 in [0, 3] and `case` (B,) int64, the row of the case in the store.

    Shuffling and augmentation depend only on `seed`, the epoch and the samples, so a resumed run is identical to an
    uninterrupted one. With `dataset.on_device`, all images are copied to the device once and batches are assembled
    there.

    There is one validation and one test loader for each selection of the split; if there are several, Lightning passes
    their index as `dataloader_idx`. The images of test loader i are tested with the checkpoint that has the highest DSC
    on those of validation loader i.

    Args:
        dataset: The dataset to load.
        splitter: Assigns the cases to the train, validation and test parts.
        batch_size: Global batch size, summed over all processes.
        num_workers: Number of worker processes that load augmented samples.
        augment: Augmentation of the training samples, or None.
        seed: Seed of shuffling and augmentation.
        sampler: Composes the training batches; None to draw each training image once per epoch.

    Raises:
        UserError: If the batch size is invalid, or augmentation or workers are combined with `dataset.on_device`.

    Example:
        >>> datamodule = MammogramDataModule(dataset, PatientKFold(folds=5), batch_size=4)  # doctest: +SKIP
        >>> datamodule.setup()  # doctest: +SKIP
        >>> next(iter(datamodule.train_dataloader()))["image"].shape  # doctest: +SKIP
        torch.Size([4, 1, 256, 256])
    """

    def __init__(
        self,
        dataset: DatasetSpec,
        splitter: Splitter,
        batch_size: int = 4,
        num_workers: int = 0,
        augment: Augment | None = None,
        seed: int = 0,
        sampler: TrainSampler | None = None,
    ) -> None:
        super().__init__()
        if dataset.on_device and (augment is not None or num_workers):
            conflict = f"num_workers={num_workers}" if num_workers else "augmentation"
            raise UserError(
                f"dataset.on_device=true assembles batches on the device and cannot be combined with {conflict}; "
                "set augment=none and num_workers=0, or dataset.on_device=false"
            )
        self.dataset = dataset
        self.splitter = splitter
        self.batch_size = positive_int("batch_size", batch_size)
        self.num_workers = num_workers
        self.augment = augment
        self.seed = seed
        self.sampler = sampler
        self.store: PreparedStore
        self.split: Split
        self.selections: list[Selection]
        self.strata: Strata | None = None  # of the training images
        self.is_set_up = False

    def setup(self, stage: str | None = None) -> None:
        """Open the dataset, preprocessing it first if necessary, and split it.

        Args:
            stage: Ignored; all stages use the same store and split.
        """
        del stage
        if not self.is_set_up:
            self.store = self.dataset.open_store(require_outlines=True)
            self.split = self.splitter(self.store.cases, by_mass=self.dataset.with_negatives)
            self.selections = self.split.selections()
            self.strata = None if self.sampler is None else self.sampler.strata(self.store, self.split.train)
            self.is_set_up = True

    def set_up_test(self, selections: Sequence[Selection]) -> None:
        """Open the dataset for a test of given images, without splitting it.

        Args:
            selections: One for each test loader.
        """
        self.store = self.dataset.open_store()
        self.selections = list(selections)
        self.is_set_up = True

    @property
    def n_test_images(self) -> int:
        """Number of images of all test loaders."""
        return sum(len(selection.test) for selection in self.selections)

    def train_mass_fractions(self) -> Tensor:
        """Fraction of mass pixels in each training image with a mass, (N,), to which ratio-based losses are fitted."""
        fractions = self.store.mass_fraction[np.asarray(self.split.train)]
        return torch.from_numpy(fractions[fractions > 0])

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of shuffled, augmented training batches."""
        return self._loader(self.split.train, train=True)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """Return the loaders of validation batches, one for each selection."""
        return [self._loader(selection.val) for selection in self.selections]

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """Return the loaders of test batches, one for each selection."""
        return [self._loader(selection.test) for selection in self.selections]

    def _loader(self, rows: Indices, train: bool = False) -> DataLoader[Any]:
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        sampler = ShardedBatchSampler(
            rows,
            self.batch_size,
            self.seed,
            train=train,
            rank=rank,
            world_size=world_size,
            strata=self.strata if train else None,
        )
        if train and self.augment is not None:
            return StatefulDataLoader(AugmentedDataset(self.store, self.augment, self.seed), sampler, self.num_workers)
        return StatefulDataLoader(self.batch_dataset, sampler, self.num_workers)

    @cached_property
    def batch_dataset(self) -> BatchDataset:
        """Dataset without augmentation, shared by all loaders so that images are copied to the device only once."""
        if self.dataset.on_device and self.trainer is not None:
            return BatchDataset(self.store, self.trainer.strategy.root_device)
        return BatchDataset(self.store, torch.device("cpu"))
