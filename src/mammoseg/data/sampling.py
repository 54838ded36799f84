"""Batch sampler, datasets and data loader that support several processes and resuming mid-epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from mammoseg.batch import check_same_size
from mammoseg.data.samplers import Strata
from mammoseg.data.split_result import Indices
from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError

# (image (H, W), mask (H, W), seed) -> (augmented image, augmented mask)
Augment = Callable[[NDArray[Any], NDArray[Any], int], tuple[NDArray[Any], NDArray[Any]]]


class SampleKey(NamedTuple):
    """Key of a sample.

    Attributes:
        epoch: Current epoch, part of the seed of the augmentation.
        row: Row of the store.
        weight: Weight of the sample in the loss; None unless batches are sharded across processes.
        repeat: Number of earlier samples of this row in the epoch, part of the seed of the augmentation.
    """

    epoch: int
    row: int
    weight: float | None = None
    repeat: int = 0


class EpochSampler(Sampler[int]):
    """Sampler of rows of the store, reshuffled every epoch if `shuffle`.

    Args:
        rows: Rows of the store.
        shuffle: Whether to shuffle; the order depends only on `seed` and the epoch.
        seed: Seed of the shuffling.
        strata: Strata of the rows, from which batches are composed; None for each row once per epoch.
        batch_size: Number of rows of a batch; used only with `strata`.
    """

    def __init__(
        self, rows: Indices, shuffle: bool, seed: int, strata: Strata | None = None, batch_size: int = 1
    ) -> None:
        self.rows = rows
        self.shuffle = shuffle
        self.seed = seed
        self.strata = strata
        self.batch_size = batch_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the current epoch; called by the trainer at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[int]:
        rows = self.rows
        if self.shuffle:
            rng = np.random.default_rng([self.seed, self.epoch])
            rows = rng.permutation(rows) if self.strata is None else rows[self.strata.order(self.batch_size, rng)]
        return map(int, rows)


class ShardedBatchSampler(Sampler[list[SampleKey]]):
    """Batch sampler for one or more processes.

    With `train=True`, rows are reshuffled every epoch and each global batch is sharded across ranks, so the number of
    steps and the images per step do not depend on the world size. Otherwise each rank takes every `world_size`-th
    batch, so each image is evaluated once, in the same batch for any world size.

    Args:
        rows: Rows of the store.
        batch_size: Global batch size, summed over all processes.
        seed: Seed of the shuffling.
        train: Whether to shuffle and to shard batches.
        rank: Global rank of this process.
        world_size: Number of processes.
        strata: See `EpochSampler`.

    Raises:
        UserError: If `batch_size` is smaller than the world size and `train` is True.

    Example:
        >>> sampler = ShardedBatchSampler(np.arange(5), batch_size=2, seed=0, train=False)
        >>> [[key.row for key in batch] for batch in sampler]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        rows: Indices,
        batch_size: int,
        seed: int,
        *,
        train: bool,
        rank: int = 0,
        world_size: int = 1,
        strata: Strata | None = None,
    ) -> None:
        if train and batch_size < world_size:
            raise UserError(
                f"batch_size must be at least the number of processes ({world_size}), got {batch_size}; "
                "increase it or use fewer devices"
            )
        self.sampler = EpochSampler(rows, train, seed, strata, batch_size)
        self.batch_size = batch_size
        self.train = train
        self.rank = rank
        self.world_size = world_size
        self.skip = 0  # batches to skip in the next iteration, when resuming mid-epoch

    def __len__(self) -> int:
        n_batches = -(-len(self.sampler) // self.batch_size)
        return n_batches if self.train else max(len(range(self.rank, n_batches, self.world_size)), 1)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        keys = sample_keys(self.sampler.epoch, list(self.sampler))
        batches = [keys[start : start + self.batch_size] for start in range(0, len(keys), self.batch_size)]
        skip, self.skip = self.skip, 0
        if self.train:
            yield from (self.shard(batch) for batch in batches[skip:])
        else:
            rank_batches = batches[self.rank :: self.world_size]
            yield from rank_batches
            if not rank_batches:  # the trainer requires at least one batch
                yield with_weight(batches[0], 0.0)

    def shard(self, batch: list[SampleKey]) -> list[SampleKey]:
        """Return this rank's shard of a global batch; an empty shard is padded with one zero-weight sample."""
        if self.world_size == 1:
            return batch
        shard = batch[self.rank :: self.world_size]
        return with_weight(shard or batch[:1], len(shard) * self.world_size / len(batch))


def sample_keys(epoch: int, rows: list[int]) -> list[SampleKey]:
    """Return the keys of the samples of an epoch.

    Args:
        epoch: Current epoch.
        rows: Rows of the store, in the order of the samples.

    Example:
        >>> [(key.row, key.repeat) for key in sample_keys(0, [4, 2, 4])]
        [(4, 0), (2, 0), (4, 1)]
    """
    n_earlier: Counter[int] = Counter()
    keys = []
    for row in rows:
        keys.append(SampleKey(epoch, row, repeat=n_earlier[row]))
        n_earlier[row] += 1
    return keys


def with_weight(keys: list[SampleKey], weight: float) -> list[SampleKey]:
    """Return the keys with a weight in the loss."""
    return [key._replace(weight=weight) for key in keys]


class AugmentedDataset(Dataset[dict[str, Any]]):
    """Map-style dataset of augmented samples.

    Args:
        store: The prepared images.
        augment: Applied to each sample.
        seed: Combined with the epoch, the row and the number of its repetitions to seed the augmentation.
    """

    def __init__(self, store: PreparedStore, augment: Augment, seed: int) -> None:
        self.store = store
        self.density, self.density_score = store.density, store.density_score
        self.augment = augment
        self.seed = seed
        self.device = torch.device("cpu")

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        epoch, row, weight, repeat = key
        image, mask = np.array(self.store.images[row]), np.array(self.store.masks[row])
        entropy = [self.seed, epoch, row, repeat] if repeat else [self.seed, epoch, row]
        sample_seed = np.random.SeedSequence(entropy).generate_state(1)[0]
        image, mask = self.augment(image, mask, int(sample_seed))
        check_same_size(self.store.images[row].shape, image.shape)
        return {
            "image": torch.from_numpy(image)[None],
            "mask": torch.from_numpy(mask)[None].float(),
            "density": int(self.density[row]),
            "density_score": self.density_score[row],
            "case": row,
            **({} if weight is None else {"weight": weight}),
        }


class BatchDataset(Dataset[dict[str, Tensor]]):
    """Map-style dataset that gathers a batch with one indexing operation.

    Gives the same batches as `AugmentedDataset` without augmentation.

    Args:
        store: The prepared images; on the CPU they remain memory-mapped and are shared between processes.
        device: Device that holds the images and assembles the batches.

    Raises:
        UserError: If the images do not fit on the device.
    """

    def __init__(self, store: PreparedStore, device: torch.device) -> None:
        self.device = device
        try:
            self.images, self.masks, self.density, self.density_score = (
                torch.from_numpy(array).to(device)
                for array in (store.images, store.masks, store.density, store.density_score)
            )
        except torch.OutOfMemoryError as error:
            size_gib = (store.images.nbytes + store.masks.nbytes) / 2**30
            raise UserError(
                f"dataset.on_device=true, but the {size_gib:.1f} GiB of images and masks do not fit on {device}; "
                "set dataset.on_device=false"
            ) from error

    def __getitems__(self, keys: list[SampleKey]) -> dict[str, Tensor]:
        _, rows, weights, _ = zip(*keys, strict=True)
        case = torch.tensor(rows)
        if self.device.type == "cuda":  # pinned memory, so that the copy does not synchronise with the GPU
            case = case.pin_memory()
        case = case.to(self.device, non_blocking=True)
        return {
            "image": self.images[case, None],
            "mask": self.masks[case, None].float(),
            "density": self.density[case],
            "density_score": self.density_score[case],
            "case": case,
            **({} if weights[0] is None else {"weight": torch.tensor(weights, dtype=torch.float64)}),
        }


class StatefulDataLoader(DataLoader[Any]):
    """DataLoader whose position is checkpointed by Lightning, so training resumes mid-epoch.

    Args:
        dataset: The samples or batches.
        sampler: Selects the batches.
        num_workers: Number of worker processes.
    """

    def __init__(
        self, dataset: AugmentedDataset | BatchDataset, sampler: ShardedBatchSampler, num_workers: int = 0
    ) -> None:
        collate: Any = identity_collate if isinstance(dataset, BatchDataset) else default_collate
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
        """Return the position in the epoch; the name `given` of the key is that in the checkpoints of version 0.1."""
        return {"given": self.batches_yielded % max(len(self), 1)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start the next iteration at the saved position."""
        self.sharded_sampler.skip = state["given"]


def identity_collate(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the batch unchanged; `BatchDataset` has already collated it."""
    return batch
