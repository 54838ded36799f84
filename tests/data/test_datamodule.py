"""Data module: caching, atomic stores, batches, and an order that depends only on seed and epoch."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from mammoseg.data.datamodule import MammogramDataModule
from mammoseg.data.dataset import DatasetSpec, build_dataset
from mammoseg.data.prepare_store import CACHE_PREFIX
from mammoseg.data.preprocessing import cache
from mammoseg.data.preprocessing.density_model import DensityModel
from mammoseg.data.preprocessing.preprocessing_settings import PreprocessingSettings
from mammoseg.data.readers.image_folder import read
from mammoseg.data.readers.mammogram import Mammogram
from mammoseg.data.sampling import BatchDataset, EpochSampler, ShardedBatchSampler
from mammoseg.data.split import PatientKFold
from mammoseg.data.store import PreparedStore
from mammoseg.errors import UserError


def write_folder(root: Path, n_images: int = 20) -> Path:
    """Images of a bright half-disc with a brighter square mass; the grey values of image n depend on n."""
    (root / "images").mkdir(parents=True)
    rows = [["case", "image", "mask", "patient", "density", "side"]]
    y, x = np.mgrid[:60, :40]
    for n in range(n_images):
        image = np.where((y - 30) ** 2 + x**2 < 26**2, 9000 + 100 * n, 0).astype(np.uint16)
        mask = np.zeros((60, 40), np.uint8)
        mask[25:33, 5:13] = 255
        image[mask > 0] += 9000
        cv2.imwrite(str(root / "images" / f"{n}.png"), image)
        cv2.imwrite(str(root / "images" / f"{n}-mask.png"), mask)
        rows.append([f"case{n}", f"images/{n}.png", f"images/{n}-mask.png", f"p{n // 2}", str(n // 2 % 4 + 1), "LEFT"])
    with (root / "cases.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows(rows)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "data")


def dataset(root: Path, **settings: Any) -> DatasetSpec:
    settings = {"size": 32, "workers": 1, "store": str(root.parent / "store"), **settings}
    return build_dataset(name="test", root=str(root), reader=read, **settings)


def stores(root: Path) -> list[str]:
    """Names of the stores and of unfinished caches, without their locks."""
    return sorted(path.name for path in (root.parent / "store").glob("*") if path.is_dir())


def test_a_synthetic_dataset_is_created_when_its_images_are_listed(tmp_path: Path) -> None:
    assert len(dataset(tmp_path / "data", source=write_folder).mammograms()) == 20


def test_a_reader_that_returns_no_list_is_an_error(root: Path) -> None:
    reader: Any = lambda *_: None  # noqa: E731
    with pytest.raises(UserError, match="must return a list of Mammogram, got NoneType"):
        build_dataset(name="test", root=str(root), reader=reader, store=str(root)).open_store()


def test_the_store_contains_every_case_in_order(root: Path) -> None:
    store = dataset(root).open_store()
    assert [case.case for case in store.cases] == [f"case{n}" for n in range(20)]
    assert store.density.tolist() == [n // 2 % 4 for n in range(20)]
    assert store.images.shape == store.masks.shape == (20, 32, 32)
    assert store.images.min() == 0
    assert store.images.max() == 1
    assert set(np.unique(store.masks)) == {0, 1}
    for case, mask, image in zip(store.cases, store.masks, store.images, strict=True):
        assert case.mass_pixels == mask.sum() > 0
        assert (image[mask > 0] > 0.5).all(), "the mass is the brightest structure"
        assert (case.height, case.width, case.crop_skipped) == (60, 40, 0)
        assert case.right < 40, "cropped to the breast"


def test_an_existing_store_is_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = dataset(root).open_store()
    monkeypatch.setattr(cache, "preprocess_mammogram", None)  # no image may be decoded
    second = dataset(root).open_store()
    assert first.folder == second.folder
    assert np.array_equal(first.images, second.images)


@pytest.mark.parametrize(
    "change", [{"size": 48}, {"crop": False}, {"aspect": "pad"}, {"normalise": "zscore"}, {"flip": "right"}]
)
def test_a_changed_setting_gives_another_store(root: Path, change: dict[str, Any]) -> None:
    assert dataset(root).open_store().folder != dataset(root, **change).open_store().folder


def test_a_changed_input_gives_another_store(root: Path) -> None:
    folders = {dataset(root).open_store().folder}
    table = (root / "cases.csv").read_text()
    (root / "cases.csv").write_text(table.replace("p0,1", "p0,4"))
    folders.add(dataset(root).open_store().folder)
    image = root / "images" / "3.png"
    pixels = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    cv2.imwrite(str(image), pixels + 1)
    folders.add(dataset(root).open_store().folder)
    assert len(folders) == 3


def damage(root: Path) -> None:
    (root / "images" / "4.png").write_bytes((root / "images" / "4.png").read_bytes()[:60])
    (root / "images" / "7-mask.png").unlink()
    cv2.imwrite(str(root / "images" / "9-mask.png"), np.zeros((10, 10), np.uint8))


def test_all_rejected_cases_are_reported_together_and_no_store_is_written(root: Path) -> None:
    damage(root)
    with pytest.raises(UserError) as caught:
        dataset(root).open_store()
    for part in ("cannot be used: 3;", "images/4.png", "images/7.png", "no such file", "images/9.png", "10x10"):
        assert part in str(caught.value)
    assert not [name for name in stores(root) if not name.startswith(CACHE_PREFIX)]


def test_cached_images_are_not_decoded_twice(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = dataset(root, store=str(root.parent / "reference")).open_store()
    content = (root / "images" / "4.png").read_bytes()
    mtime_ns = (root / "images" / "4.png").stat().st_mtime_ns
    damage(root)
    decoded: list[str] = []
    preprocess_mammogram = cache.preprocess_mammogram

    def counting(
        mammogram: Mammogram, settings: PreprocessingSettings, density_model: DensityModel
    ) -> cache.PreprocessedSample:
        decoded.append(mammogram.case)
        return preprocess_mammogram(mammogram, settings, density_model)

    monkeypatch.setattr(cache, "preprocess_mammogram", counting)
    with pytest.raises(UserError, match="cannot be used: 3;"):
        dataset(root).open_store()
    assert len(decoded) == 20
    decoded.clear()
    (root / "images" / "4.png").write_bytes(content)
    os.utime(root / "images" / "4.png", ns=(mtime_ns, mtime_ns))
    store = dataset(root, on_error="skip").open_store()
    assert decoded == ["case4", "case7", "case9"], "the repaired image and those that failed"
    accepted = [n for n in range(20) if n not in (7, 9)]
    assert np.array_equal(store.images, reference.images[accepted])
    assert not [name for name in stores(root) if name.startswith(CACHE_PREFIX)]
    with pytest.raises(UserError, match="cannot be used: 2;"):
        dataset(root).open_store()


def test_damaged_cache_files_are_recomputed(root: Path) -> None:
    reference = dataset(root, store=str(root.parent / "reference")).open_store()
    mask_file = root / "images" / "9-mask.png"
    original, mtime_ns = mask_file.read_bytes(), mask_file.stat().st_mtime_ns
    mask_file.unlink()
    with pytest.raises(UserError):
        dataset(root).open_store()
    files = sorted((root.parent / "store").glob(f"{CACHE_PREFIX}*/*.npz"))
    assert len(files) == 19
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:-500])
    corrupted = bytearray(files[2].read_bytes())
    corrupted[len(corrupted) // 3] ^= 255
    files[2].write_bytes(corrupted)
    mask_file.write_bytes(original)
    os.utime(mask_file, ns=(mtime_ns, mtime_ns))
    assert np.array_equal(dataset(root).open_store().images, reference.images)


def test_rejected_cases_are_skipped_and_listed_with_on_error_skip(root: Path) -> None:
    damage(root)
    store = dataset(root, on_error="skip").open_store()
    assert [case.case for case in store.cases] == [f"case{n}" for n in range(20) if n not in (4, 7, 9)]
    assert len(store.images) == len(store.masks) == 17
    assert [file for file, _ in store.skipped] == ["images/4.png", "images/7.png", "images/9.png"]
    second = PreparedStore.open(store.folder)
    assert second.skipped == store.skipped
    assert second.cases == store.cases


def test_missing_density_raises_drops_or_substitutes(root: Path) -> None:
    table = (root / "cases.csv").read_text()
    (root / "cases.csv").write_text(table.replace("p3,4", "p3,"))
    with pytest.raises(UserError, match="case6"):
        dataset(root).open_store()
    assert len(dataset(root, missing_density="drop").open_store().cases) == 18
    assert dataset(root, missing_density=2).open_store().cases[6].density == 2


def test_the_store_does_not_depend_on_the_number_of_processes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    single = dataset(root).open_store()
    monkeypatch.setattr(cache, "MIN_IMAGES_PER_WORKER", 4)
    multiple = dataset(root, workers=2, store=str(root.parent / "multiple")).open_store()
    assert (single.folder / "images.npy").read_bytes() == (multiple.folder / "images.npy").read_bytes()
    assert (single.folder / "masks.npy").read_bytes() == (multiple.folder / "masks.npy").read_bytes()


def datamodule(root: Path, **settings: Any) -> MammogramDataModule:
    module = MammogramDataModule(dataset(root), PatientKFold(folds=4), **settings)
    module.setup()
    return module


def test_a_batch_contains_images_masks_and_densities_of_its_cases(root: Path) -> None:
    module = datamodule(root, batch_size=3)
    batch = next(iter(module.train_dataloader()))
    assert set(batch) == {"image", "mask", "density", "density_score", "case"}
    assert batch["image"].shape == batch["mask"].shape == (3, 1, 32, 32)
    assert batch["image"].dtype == batch["mask"].dtype == torch.float32
    assert set(batch["mask"].unique().tolist()) == {0.0, 1.0}
    for index, row in enumerate(batch["case"].tolist()):
        assert batch["density"][index] == module.store.cases[row].density - 1
        assert batch["density_score"][index] == pytest.approx(module.store.cases[row].density_score - 1)
        np.testing.assert_array_equal(batch["image"][index, 0].numpy(), module.store.images[row])


def test_each_loader_yields_every_case_of_its_part_once(root: Path) -> None:
    module = datamodule(root, batch_size=3)
    (val_loader,), (test_loader,) = module.val_dataloader(), module.test_dataloader()
    for loader, rows in (
        (module.train_dataloader(), module.split.train),
        (val_loader, module.split.val),
        (test_loader, module.split.test),
    ):
        assert sorted(rows_of(loader)) == rows.tolist()
    assert rows_of(test_loader) == module.split.test.tolist()


def rows_of(loader: Iterable[Any]) -> list[int]:
    return [row for batch in loader for row in batch["case"].tolist()]


def test_each_half_is_tested_with_the_checkpoint_of_the_other_one(root: Path) -> None:
    """Validation loader i selects the checkpoint of test loader i."""
    module = datamodule(root, batch_size=3)
    module.splitter = PatientKFold(folds=2, test="both")
    module.is_set_up = False
    module.setup()
    half1, half2 = module.split.val.tolist(), module.split.test.tolist()
    assert [rows_of(loader) for loader in module.val_dataloader()] == [half1, half2]
    assert [rows_of(loader) for loader in module.test_dataloader()] == [half2, half1]
    assert not {*half1} & {*half2}
    assert module.n_test_images == len(half1) + len(half2)


def test_the_order_depends_only_on_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochSampler(np.arange(50), shuffle=True, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 3) == order(1, 3)
    assert sorted(order(1, 3)) == list(range(50))
    assert order(1, 3) != order(1, 4)
    assert order(1, 3) != order(2, 3)


def test_image_and_mask_are_augmented_together(root: Path) -> None:
    import albumentations

    from mammoseg.data.augment import Augmentation

    flip = Augmentation([albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5)])
    module = datamodule(root, batch_size=3, augment=flip)
    loader = module.train_dataloader()
    first, second = list(loader), list(loader)
    n_flipped = 0
    for batch, repeated in zip(first, second, strict=True):
        assert torch.equal(batch["image"], repeated["image"]), "augmentation depends only on seed and epoch"
        for image, mask, row in zip(batch["image"], batch["mask"], batch["case"].tolist(), strict=True):
            assert (image[mask > 0] > 0.5).all()
            n_flipped += not np.array_equal(image[0].numpy(), module.store.images[row])
    assert n_flipped > 0
    for batch in module.test_dataloader()[0]:
        np.testing.assert_array_equal(batch["image"][:, 0].numpy(), module.store.images[batch["case"].numpy()])


def test_batches_do_not_depend_on_the_number_of_workers(root: Path) -> None:
    loaders = [datamodule(root, batch_size=3, num_workers=n).train_dataloader() for n in (0, 2)]
    for batch, from_workers in zip(*loaders, strict=True):
        assert all(torch.equal(batch[name], from_workers[name]) for name in batch)


def collate_samples(module: MammogramDataModule, batches: ShardedBatchSampler) -> list[dict[str, torch.Tensor]]:
    """Batches of single samples collated by torch."""
    return [
        default_collate(
            [
                {
                    "image": torch.from_numpy(np.array(module.store.images[row]))[None],
                    "mask": torch.from_numpy(np.array(module.store.masks[row]))[None].float(),
                    "density": int(module.store.density[row]),
                    "density_score": module.store.density_score[row],
                    "case": row,
                    **({} if weight is None else {"weight": weight}),
                }
                for _, row, weight, _ in keys
            ]
        )
        for keys in batches
    ]


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize(("rank", "world_size"), [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("train", [True, False])
def test_batch_dataset_equals_collated_samples(
    root: Path, on_device: bool, rank: int, world_size: int, train: bool
) -> None:
    module = MammogramDataModule(dataset(root, on_device=on_device), PatientKFold(folds=4), batch_size=3, seed=5)
    module.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=rank, world_size=world_size, strategy=SimpleNamespace(root_device=torch.device("cpu"))
    )
    module.setup()
    rows = module.split.train if train else module.split.test
    loader = module._loader(rows, train=train)
    sampler = ShardedBatchSampler(rows, 3, 5, train=train, rank=rank, world_size=world_size)
    for epoch in (0, 1):
        loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        sampler.sampler.set_epoch(epoch)
        expected = collate_samples(module, sampler)
        batches = list(loader)
        assert len(batches) == len(expected) == len(loader)
        for batch, other in zip(batches, expected, strict=True):
            assert batch.keys() == other.keys()
            for name in batch:
                assert batch[name].dtype == other[name].dtype
                assert torch.equal(batch[name], other[name])


@pytest.mark.parametrize("on_device", [False, True])
def test_the_loader_resumes_mid_epoch(root: Path, on_device: bool) -> None:
    module = MammogramDataModule(dataset(root, on_device=on_device), PatientKFold(folds=4), batch_size=3)
    module.setup()
    complete = list(module.train_dataloader())
    stopped = module.train_dataloader()
    for index, _ in enumerate(stopped):
        if index == 1:
            break
    resumed = module.train_dataloader()
    resumed.load_state_dict(stopped.state_dict())  # type: ignore[attr-defined]
    for batch, other in zip(resumed, complete[2:], strict=True):
        assert all(torch.equal(batch[name], other[name]) for name in batch)


def test_writing_to_a_batch_does_not_change_the_store(root: Path) -> None:
    module = datamodule(root, batch_size=3)
    previous = np.array(module.store.images)
    for batch in module.train_dataloader():
        batch["image"].zero_()
        batch["mask"].zero_()
    assert np.array_equal(module.store.images, previous)
    module.store.images[:] = 0  # copy-on-write: the file is not modified
    assert np.array_equal(PreparedStore.open(module.store.folder).images, previous)


@pytest.mark.parametrize(
    ("settings", "message"), [({"num_workers": 2}, "num_workers=2"), ({"augment": lambda *pair: pair}, "augmentation")]
)
def test_on_device_excludes_workers_and_augmentation(root: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MammogramDataModule(dataset(root, on_device=True), PatientKFold(folds=4), **settings)


def test_a_store_larger_than_the_device_memory_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = dataset(root).open_store()

    def raise_out_of_memory(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(torch.Tensor, "to", raise_out_of_memory)
    with pytest.raises(UserError, match=r"0\.0 GiB of images and masks do not fit on cpu"):
        BatchDataset(store, torch.device("cpu"))
