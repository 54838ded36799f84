"""Which images make up which batch, in which process, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from mammoseg.data.split import Rows
from mammoseg.data.store import Store
from mammoseg.errors import UserError

# (image (H, W), mask (H, W)), random generator seed -> the same, augmented
Augment = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
Key = tuple[int, int, float | None]  # (epoch, row of the store, weight where several processes share a batch)


class EpochSampler(Sampler[int]):
    """Rows of the store; shuffled anew in each epoch if asked, by the seed and the epoch alone."""

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

    def __iter__(self) -> Iterator[int]:
        rows = self.rows
        if self.shuffle:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(rows)
        return map(int, rows)


class Batches(Sampler[list[Key]]):
    """The batches of the process `rank` of `ranks`; one process alone has all of them.

    `train`: rows are shuffled in each epoch, and each batch of `batch_size` is shared out among the processes, which
    then take as many steps as one alone would, with the same images in each. Otherwise a process takes every
    `ranks`-th batch whole, so that each image comes once and in the same company, whatever the number of processes.
    `skip`: batches that the next iteration leaves out, since they were trained on before the run was stopped.
    Raises UserError where a batch has less images than there are processes.
    """

    def __init__(self, rows: Rows, batch_size: int, seed: int, *, train: bool, rank: int = 0, ranks: int = 1) -> None:
        if train and batch_size < ranks:
            raise UserError(
                f"batch_size={batch_size} is for all {ranks} processes together; raise it, or take fewer devices"
            )
        self.sampler = EpochSampler(rows, train, seed)
        self.batch_size = batch_size
        self.train = train
        self.rank = rank
        self.ranks = ranks
        self.skip = 0

    def __len__(self) -> int:
        batches = -(-len(self.sampler) // self.batch_size)
        return batches if self.train else max(len(range(self.rank, batches, self.ranks)), 1)

    def __iter__(self) -> Iterator[list[Key]]:
        rows, epoch = list(self.sampler), self.sampler.epoch
        whole = [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]
        skip, self.skip = self.skip, 0
        if self.train:
            yield from (self.share(batch, epoch) for batch in whole[skip:])
        else:
            mine = whole[self.rank :: self.ranks]
            yield from (keys(epoch, batch) for batch in mine)
            if not mine:  # the trainer wants at least one
                yield keys(epoch, whole[0], weight=0.0)

    def share(self, batch: list[int], epoch: int) -> list[Key]:
        """This process's part of a batch. One that is left without any image gets one that does not count."""
        if self.ranks == 1:
            return keys(epoch, batch)
        mine = batch[self.rank :: self.ranks]
        return keys(epoch, mine or batch[:1], weight=len(mine) * self.ranks / len(batch))


def keys(epoch: int, rows: list[int], weight: float | None = None) -> list[Key]:
    return [(epoch, row, weight) for row in rows]


class Samples(TorchDataset):
    """A key -> one sample of the store, augmented."""

    def __init__(self, store: Store, augment: Augment, seed: int) -> None:
        self.store = store
        self.density = store.density
        self.augment = augment
        self.seed = seed
        self.device = torch.device("cpu")

    def __getitem__(self, key: Key) -> dict[str, Any]:
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


class Gathered(TorchDataset):
    """A batch's keys -> the batch, taken out of the store at once: what `Samples` gives where nothing is augmented.

    `device`: where the images are kept and the batches made. On the CPU they stay memory-mapped: the system holds
    what is read in memory, once for all processes. Raises UserError where they do not fit on the device.
    """

    def __init__(self, store: Store, device: torch.device) -> None:
        self.device = device
        try:
            self.images, self.masks, self.density = (
                torch.from_numpy(array).to(device) for array in (store.images, store.masks, store.density)
            )
        except torch.OutOfMemoryError as error:
            needed = (store.images.nbytes + store.masks.nbytes) / 2**30
            raise UserError(
                f"dataset.on_device=true, but the {needed:.1f} GiB of images and masks do not fit on {device}; "
                "set dataset.on_device=false"
            ) from error

    def __getitems__(self, keys: list[Key]) -> dict[str, Tensor]:
        _, rows, weights = zip(*keys, strict=True)
        case = torch.tensor(rows)
        if self.device.type == "cuda":  # pinned, so that the host does not wait for the step before
            case = case.pin_memory()
        case = case.to(self.device, non_blocking=True)
        return {
            "image": self.images[case, None],
            "mask": self.masks[case, None].float(),
            "density": self.density[case],
            "case": case,
            **({} if weights[0] is None else {"weight": torch.tensor(weights, dtype=torch.float64)}),
        }


class ResumableLoader(DataLoader):
    """A DataLoader that goes on in the midst of an epoch; the trainer keeps its state in each checkpoint."""

    def __init__(self, samples: Samples | Gathered, batches: Batches, num_workers: int = 0) -> None:
        collate: Any = as_it_is if isinstance(samples, Gathered) else None
        super().__init__(
            samples,
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available() and samples.device.type == "cpu",
        )
        self.batches = batches
        self.given = 0  # batches of this epoch

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self.given = self.batches.skip
        for batch in super().__iter__():
            self.given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given % max(len(self), 1)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.batches.skip = state["given"]


def as_it_is(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return batch
