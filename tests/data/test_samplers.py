"""Samplers of training images: composition of the batches, ranks, repetitions and invalid settings."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mammoseg.data.samplers import BalancedDensity, BalancedMassSize, FewImages, NegativeFraction, Strata
from mammoseg.data.sampling import AugmentedDataset, EpochSampler, SampleKey, ShardedBatchSampler
from mammoseg.errors import UserError


def store(mass_fraction: list[float], density: list[int] | None = None) -> Any:
    fractions = np.array(mass_fraction)
    density = density or [0] * len(fractions)
    return SimpleNamespace(mass_fraction=fractions, has_mass=fractions > 0, density=np.array(density))


def batches(strata: Strata, batch_size: int, seed: int = 0, epoch: int = 0) -> list[list[int]]:
    sampler = ShardedBatchSampler(np.arange(len(strata.stratum)), batch_size, seed, train=True, strata=strata)
    sampler.sampler.set_epoch(epoch)
    return [[key.row for key in batch] for batch in sampler]


@settings(max_examples=60)
@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.02, 0.98), st.integers(1, 9), st.integers(0, 2**31))
def test_each_batch_has_the_fraction_of_negatives_rounded_up_or_down(
    n_negative: int, n_positive: int, fraction: float, batch_size: int, seed: int
) -> None:
    images = store([0.0] * n_negative + [0.1] * n_positive)
    strata = NegativeFraction(fraction).strata(images, np.arange(n_negative + n_positive))
    rows = batches(strata, batch_size, seed)
    for batch in rows:
        exact = fraction * len(batch)
        n_drawn = sum(row < n_negative for row in batch)
        assert np.floor(exact - 1e-9) <= n_drawn <= np.ceil(exact + 1e-9)
    drawn = Counter(row for batch in rows for row in batch)
    assert drawn.total() == n_negative + n_positive
    for members in (range(n_negative), range(n_negative, n_negative + n_positive)):
        counts = [drawn[row] for row in members]
        assert max(counts) - min(counts) <= 1, "no image is repeated before all of its kind have been drawn"


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(0, 2**31))
def test_densities_are_drawn_equally_often(density: list[int], seed: int) -> None:
    strata = BalancedDensity().strata(store([0.1] * len(density), density), np.arange(len(density)))
    n_categories = len(set(density))
    rows = batches(strata, n_categories, seed)
    for batch in rows[: len(density) // n_categories]:
        assert {density[row] for row in batch} == set(density), "one of each category"


def test_each_batch_has_a_mass_of_each_size_and_negatives_keep_their_share() -> None:
    fractions = [0.0] * 40 + np.random.default_rng(0).lognormal(-5, 1, 80).tolist()
    strata = BalancedMassSize(groups=4).strata(store(fractions), np.arange(120))
    assert strata.shares == pytest.approx([1 / 3, *[1 / 6] * 4])
    quartile = np.searchsorted(np.quantile(fractions[40:], [0.25, 0.5, 0.75]), fractions, side="right")
    for batch in batches(strata, batch_size=6):
        assert sum(row < 40 for row in batch) == 2
        assert sorted(quartile[row] for row in batch if row >= 40) == [0, 1, 2, 3]


def test_the_order_depends_only_on_seed_and_epoch() -> None:
    strata = Strata(np.arange(30) % 3, np.array([0.2, 0.3, 0.5]))
    assert batches(strata, 4, seed=1, epoch=2) == batches(strata, 4, seed=1, epoch=2)
    assert batches(strata, 4, seed=1, epoch=2) != batches(strata, 4, seed=1, epoch=3)
    assert batches(strata, 4, seed=1, epoch=2) != batches(strata, 4, seed=2, epoch=2)


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_ranks_share_each_batch(world_size: int) -> None:
    strata = Strata((np.arange(40) < 10).astype(np.int64), np.array([0.5, 0.5]))
    shards = [
        list(ShardedBatchSampler(np.arange(40), 6, 0, train=True, rank=rank, world_size=world_size, strata=strata))
        for rank in range(world_size)
    ]
    for whole, *parts in zip(batches(strata, 6), *shards, strict=True):
        assert sorted(key.row for part in parts for key in part if key.weight) == sorted(whole)
    first = [sum(key.row < 10 for key in batch) for batch in shards[0]]
    assert len(set(first)) > 1, "a rank does not receive images of one stratum only"


def test_without_strata_each_row_is_drawn_once_in_the_order_of_earlier_versions() -> None:
    expected = np.random.default_rng([5, 3]).permutation(np.arange(20)).tolist()
    sampler = EpochSampler(np.arange(20), shuffle=True, seed=5)
    sampler.set_epoch(3)
    assert list(sampler) == expected


def test_repetitions_of_an_image_are_augmented_differently() -> None:
    seeds = []

    def augment(image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        seeds.append(seed)
        return image, mask

    images: Any = SimpleNamespace(
        images=np.zeros((2, 4, 4), np.float32),
        masks=np.zeros((2, 4, 4), np.uint8),
        density=np.zeros(2, np.int64),
        density_score=np.zeros(2, np.float32),
    )
    dataset = AugmentedDataset(images, augment, seed=7)
    for key in (SampleKey(0, 1), SampleKey(0, 1, repeat=1), SampleKey(0, 1, repeat=2), SampleKey(0, 1, repeat=1)):
        dataset[key]
    assert seeds[0] == np.random.SeedSequence([7, 0, 1]).generate_state(1)[0], "as in earlier versions"
    assert len({*seeds[:3]}) == 3
    assert seeds[3] == seeds[1]


@pytest.mark.parametrize(
    ("sampler", "images", "message"),
    [
        (NegativeFraction(), store([0.1, 0.2]), "sampler must be none if all 2 training images have a mass"),
        (BalancedMassSize(3), store([0.1, 0.2, 0.2, 0.0]), r"different mass sizes of the training images \(2\), got 3"),
    ],
)
def test_unsuitable_training_images_are_an_error(sampler: Any, images: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        sampler.strata(images, np.arange(len(images.mass_fraction)))


def test_invalid_arguments_are_an_error() -> None:
    with pytest.raises(UserError, match=r"sampler\.fraction must be .*got 1"):
        NegativeFraction(1)
    with pytest.raises(UserError, match=r"sampler\.groups must be .*at least 2, got 1"):
        BalancedMassSize(1)


@settings(max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=40).filter(any), st.integers(1, 10), st.integers(1, 6))
def test_few_images_are_the_first_ones_with_a_mass(has_mass: list[bool], images: int, batch_size: int) -> None:
    data = store([0.1 if mass else 0.0 for mass in has_mass])
    strata = FewImages(images).strata(data, np.arange(len(has_mass)))
    expected = [row for row, mass in enumerate(has_mass) if mass][:images]
    drawn = [row for epoch in range(2) for batch in batches(strata, batch_size, epoch=epoch) for row in batch]
    assert set(drawn) <= set(expected)
    assert len(drawn) == 2 * len(has_mass)
    if len(has_mass) >= len(expected):
        assert set(drawn) == set(expected)
