"""Samplers, datasets and loaders: which images make up which batch, and in which process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mammoseg.data.split import Indices
from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError

# (image (H, W), mask (H, W), seed) -> the same, augmented
Augment = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


class SampleKey(NamedTuple):
    """What a dataset needs to draw one sample.

    Attributes:
        epoch: Seeds the augmentation.
        row: Row of the store.
        weight: Of the sample in the loss; None unless several processes share a batch.
    """

    epoch: int
    row: int
    weight: float | None


class EpochSampler(Sampler[int]):
    """Rows of the store; with `shuffle` in an order that depends on the seed and the epoch alone."""

    def __init__(self, rows: Indices, shuffle: bool, seed: int) -> None:
        self.rows = rows
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[int]:
        rows = self.rows
        if self.shuffle:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(rows)
        return map(int, rows)


class ShardedBatchSampler(Sampler[list[SampleKey]]):
    """The batches of one of several processes.

    With `train`, rows are reshuffled every epoch and each global batch is sharded across ranks, so the number of steps
    and the images per step do not depend on the world size. Otherwise each rank takes every `world_size`-th batch
    unchanged, so that each image comes once and in the same batch for any world size.

    Args:
        rows: Rows of the store.
        batch_size: Of all processes together.
        seed: Of the shuffling.
        train: See above.
        rank: Of this process.
        world_size: Number of processes.

    Raises:
        UserError: If a training batch has fewer images than there are processes.
    """

    def __init__(
        self, rows: Indices, batch_size: int, seed: int, *, train: bool, rank: int = 0, world_size: int = 1
    ) -> None:
        if train and batch_size < world_size:
            raise UserError(
                f"batch_size must be at least the number of processes, {world_size}, which share a batch, got "
                f"{batch_size}; raise it, or use fewer devices"
            )
        self.sampler = EpochSampler(rows, train, seed)
        self.batch_size = batch_size
        self.train = train
        self.rank = rank
        self.world_size = world_size
        self.skip = 0  # batches that the next iteration skips: the run was stopped after them

    def __len__(self) -> int:
        n_batches = -(-len(self.sampler) // self.batch_size)
        return n_batches if self.train else max(len(range(self.rank, n_batches, self.world_size)), 1)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        rows, epoch = list(self.sampler), self.sampler.epoch
        batches = [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]
        skip, self.skip = self.skip, 0
        if self.train:
            yield from (self.shard(batch, epoch) for batch in batches[skip:])
        else:
            own_batches = batches[self.rank :: self.world_size]
            yield from (sample_keys(epoch, batch) for batch in own_batches)
            if not own_batches:  # the trainer requires at least one
                yield sample_keys(epoch, batches[0], weight=0.0)

    def shard(self, batch: list[int], epoch: int) -> list[SampleKey]:
        """This rank's shard of a global batch; an empty shard is padded with one zero-weight sample."""
        if self.world_size == 1:
            return sample_keys(epoch, batch)
        shard = batch[self.rank :: self.world_size]
        return sample_keys(epoch, shard or batch[:1], weight=len(shard) * self.world_size / len(batch))


def sample_keys(epoch: int, rows: list[int], weight: float | None = None) -> list[SampleKey]:
    """The keys of a batch."""
    return [SampleKey(epoch, row, weight) for row in rows]


class AugmentedDataset(Dataset):
    """Map-style dataset of single samples, augmented."""

    def __init__(self, store: PreparedStore, augment: Augment, seed: int) -> None:
        self.store = store
        self.density = store.density
        self.augment = augment
        self.seed = seed
        self.device = torch.device("cpu")

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        epoch, row, weight = key
        image, mask = np.array(self.store.images[row]), np.array(self.store.masks[row])
        draw = np.random.SeedSequence([self.seed, epoch, row]).generate_state(1)[0]
        image, mask = self.augment(image, mask, int(draw))
        return {
            "image": torch.from_numpy(image)[None],
            "mask": torch.from_numpy(mask)[None].float(),
            "density": int(self.density[row]),
            "case": row,
            **({} if weight is None else {"weight": weight}),
        }


class BatchDataset(Dataset):
    """Map-style dataset that gathers a batch with one indexing operation.

    Equals `AugmentedDataset` without augmentation.

    Args:
        store: The images. On the CPU they stay memory-mapped: the page cache holds them once for all processes.
        device: Where the images are kept and the batches are made.

    Raises:
        UserError: If the images do not fit on the device.
    """

    def __init__(self, store: PreparedStore, device: torch.device) -> None:
        self.device = device
        try:
            self.images, self.masks, self.density = (
                torch.from_numpy(array).to(device) for array in (store.images, store.masks, store.density)
            )
        except torch.OutOfMemoryError as error:
            size_gib = (store.images.nbytes + store.masks.nbytes) / 2**30
            raise UserError(
                f"dataset.on_device=true, but the {size_gib:.1f} GiB of images and masks do not fit on {device}; "
                "set dataset.on_device=false"
            ) from error

    def __getitems__(self, keys: list[SampleKey]) -> dict[str, Tensor]:
        _, rows, weights = zip(*keys, strict=True)
        case = torch.tensor(rows)
        if self.device.type == "cuda":  # pinned, so that the host does not wait for the previous step
            case = case.pin_memory()
        case = case.to(self.device, non_blocking=True)
        return {
            "image": self.images[case, None],
            "mask": self.masks[case, None].float(),
            "density": self.density[case],
            "case": case,
            **({} if weights[0] is None else {"weight": torch.tensor(weights, dtype=torch.float64)}),
        }


class StatefulDataLoader(DataLoader):
    """DataLoader whose position Lightning checkpoints, so training resumes mid-epoch."""

    def __init__(
        self, dataset: AugmentedDataset | BatchDataset, sampler: ShardedBatchSampler, num_workers: int = 0
    ) -> None:
        collate: Any = identity_collate if isinstance(dataset, BatchDataset) else None
        super().__init__(
            dataset,
            batch_sampler=sampler,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available() and dataset.device.type == "cpu",
        )
        self.sharded_sampler = sampler
        self.batches_yielded = 0  # in this epoch

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self.batches_yielded = self.sharded_sampler.skip
        for batch in super().__iter__():
            self.batches_yielded += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The position in the epoch. The key is that of version 0.1, whose checkpoints resume."""
        return {"given": self.batches_yielded % max(len(self), 1)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the next iteration at the stored position."""
        self.sharded_sampler.skip = state["given"]


def identity_collate(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch is complete already."""
    return batch
