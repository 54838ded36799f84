"""What is drawn keeps what it promises: power law, glandular share, masses that dense tissue hides."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mammoseg.data.preprocessing.breast import segment_breast
from mammoseg.data.preprocessing.preprocess import rasterise
from mammoseg.phantom.anatomy import GLANDULAR, Phantom, draw, power_law

HEIGHT, WIDTH = 416, 320


def phantom(seed: int, density: int, view: str = "CC", side: str = "L", masses: int = 1) -> Phantom:
    rng = np.random.default_rng(seed)
    return draw(rng, density=density, view=view, side=side, height=HEIGHT, width=WIDTH, masses=masses)


def test_parenchyma_follows_the_power_law_of_breasts() -> None:
    field = np.mean(
        [np.abs(np.fft.fft2(power_law(np.random.default_rng(seed), (256, 256)))) ** 2 for seed in range(8)], 0
    )
    frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None, :])
    band = (frequency > 0.02) & (frequency < 0.4)
    slope, _ = np.polyfit(np.log(frequency[band]), np.log(field[band]), 1)
    assert slope == pytest.approx(-3.0, abs=0.15)


@pytest.mark.parametrize("density", [1, 2, 3, 4])
def test_the_share_of_gland_is_that_of_the_category(density: int) -> None:
    shares = [phantom(seed, density, masses=0).gland_share for seed in range(6)]
    low, high = GLANDULAR[density]
    assert all(low <= share <= high for share in shares)


def test_denser_breasts_are_brighter() -> None:
    def brightness(density: int) -> float:
        drawn = [phantom(seed, density, masses=0) for seed in range(6)]
        return float(np.mean([item.pixels[item.breast].mean() for item in drawn]))

    means = [brightness(density) for density in (1, 2, 3, 4)]
    assert means == sorted(means)
    assert means[3] > 1.2 * means[0]


def contrast_to_noise(item: Phantom) -> float:
    mask = rasterise(item.outlines, HEIGHT, WIDTH) > 0
    ring = ndimage.binary_dilation(mask, iterations=14) & ~ndimage.binary_dilation(mask, iterations=3) & item.breast
    return float((item.pixels[mask].mean() - item.pixels[ring].mean()) / item.pixels[item.breast & ~mask].std())


def test_masses_are_brighter_than_what_surrounds_them() -> None:
    values = [contrast_to_noise(phantom(seed, density)) for density in (1, 2, 3, 4) for seed in range(8)]
    assert np.mean(np.array(values) > 0) > 0.95


def test_dense_breasts_hide_masses() -> None:
    def added(density: int) -> float:
        """Grey values that the mass adds, drawn twice from one seed with and without it."""
        gains = []
        for seed in range(8):
            with_mass, without = phantom(seed, density, masses=1), phantom(seed, density, masses=0)
            mask = rasterise(with_mass.outlines, HEIGHT, WIDTH) > 0
            gains.append(with_mass.pixels[mask].mean() - without.pixels[mask].mean())
        return float(np.mean(gains))

    assert added(1) > 1.3 * added(4) > 0


@pytest.mark.parametrize("view", ["CC", "MLO"])
@pytest.mark.parametrize("side", ["L", "R"])
def test_outlines_lie_in_the_breast_and_the_chest_wall_at_its_edge(view: str, side: str) -> None:
    for seed in range(4):
        item = phantom(seed, 2, view, side, masses=2)
        mask = rasterise(item.outlines, HEIGHT, WIDTH) > 0
        assert (mask & item.breast).sum() >= 0.97 * mask.sum()
        wall, away = (0, -1) if side == "L" else (-1, 0)
        assert item.breast[:, wall].mean() > 0.3
        assert not item.breast[:, away].any()


def test_masses_cover_what_real_ones_do() -> None:
    shares = [rasterise(phantom(seed, 2).outlines, HEIGHT, WIDTH).mean() for seed in range(30)]
    assert 0.004 < np.mean(shares) < 0.016, "INbreast: about 1 % of the image"


def test_the_marker_is_bright_and_not_taken_for_breast() -> None:
    for view in ("CC", "MLO"):
        item = phantom(5, 3, view, "L")
        corner = (slice(0, 40), slice(WIDTH // 2, WIDTH))
        assert item.pixels[corner].max() > 3000
        assert not segment_breast(item.pixels)[corner].any()


def test_a_right_breast_is_not_a_mirrored_left_one_in_its_marker() -> None:
    left, right = phantom(1, 2, side="L"), phantom(1, 2, side="R")
    assert np.array_equal(left.breast[:, ::-1], right.breast)
    assert not np.array_equal(left.pixels[:, ::-1], right.pixels)
    np.testing.assert_allclose(left.outlines[0][:, 0], WIDTH - 1 - right.outlines[0][:, 0])


def test_the_seed_decides() -> None:
    assert np.array_equal(phantom(1, 2).pixels, phantom(1, 2).pixels)
    assert not np.array_equal(phantom(1, 2).pixels, phantom(2, 2).pixels)
    assert phantom(1, 2).pixels.max() <= 4095
