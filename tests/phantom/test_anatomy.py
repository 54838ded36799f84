"""Properties of synthetic mammograms: power law, glandular fraction, masses hidden by dense tissue."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mammoseg.data.images.masks import rasterise
from mammoseg.data.preprocessing.breast import segment_breast
from mammoseg.data.preprocessing.density_estimate import percent_density
from mammoseg.errors import UserError
from mammoseg.phantom.anatomy import Phantom, draw_phantom, power_law
from mammoseg.phantom.appearance import APPEARANCES

HEIGHT, WIDTH = 416, 320


def phantom(
    seed: int, density: int, view: str = "CC", side: str = "L", masses: int = 1, appearance: str = "realistic"
) -> Phantom:
    return draw_phantom(
        np.random.default_rng(seed),
        density=density,
        view=view,
        side=side,
        height=HEIGHT,
        width=WIDTH,
        masses=masses,
        appearance=appearance,
    )


def test_parenchyma_follows_the_power_law_of_breasts() -> None:
    spectrum = np.mean(
        [np.abs(np.fft.fft2(power_law(np.random.default_rng(seed), (256, 256)))) ** 2 for seed in range(8)], 0
    )
    frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None, :])
    band = (frequency > 0.02) & (frequency < 0.4)
    slope, _ = np.polyfit(np.log(frequency[band]), np.log(spectrum[band]), 1)
    assert slope == pytest.approx(-3.0, abs=0.15)


@pytest.mark.parametrize("appearance", APPEARANCES)
@pytest.mark.parametrize("density", [1, 2, 3, 4])
def test_the_glandular_fraction_is_in_the_range_of_the_category(density: int, appearance: str) -> None:
    fractions = [phantom(seed, density, masses=0, appearance=appearance).glandular_fraction for seed in range(6)]
    low, high = APPEARANCES[appearance].glandular_fraction[density]
    assert all(low <= fraction <= high for fraction in fractions)


def test_an_unknown_appearance_is_a_user_error() -> None:
    with pytest.raises(UserError, match="appearance must be one of realistic, simple, got hard"):
        phantom(0, 1, appearance="hard")


def test_percent_density_increases_with_the_category() -> None:
    """Measured by the same threshold as on real images."""

    def median(density: int) -> float:
        values = []
        for seed in range(8):
            image = phantom(seed, density, view="CC" if seed % 2 else "MLO")
            breast = segment_breast(image.pixels)
            pixels = image.pixels.astype(np.float32) / image.pixels[breast].max()
            values.append(percent_density(pixels, breast, "CC" if seed % 2 else "MLO"))
        return float(np.median(values))

    medians = [median(density) for density in (1, 2, 3, 4)]
    assert medians == sorted(medians)
    assert medians[3] > medians[0] + 0.2, medians


def test_denser_breasts_are_brighter() -> None:
    def brightness(density: int) -> float:
        phantoms = [phantom(seed, density, masses=0) for seed in range(6)]
        return float(np.mean([image.pixels[image.breast].mean() for image in phantoms]))

    means = [brightness(density) for density in (1, 2, 3, 4)]
    assert means == sorted(means)
    assert means[3] > 1.2 * means[0]


def contrast_to_noise(image: Phantom) -> float:
    mask = rasterise(image.outlines, HEIGHT, WIDTH) > 0
    ring = ndimage.binary_dilation(mask, iterations=14) & ~ndimage.binary_dilation(mask, iterations=3) & image.breast
    return float((image.pixels[mask].mean() - image.pixels[ring].mean()) / image.pixels[image.breast & ~mask].std())


def test_masses_are_brighter_than_their_surroundings() -> None:
    values = [contrast_to_noise(phantom(seed, density)) for density in (1, 2, 3, 4) for seed in range(8)]
    assert np.mean(np.array(values) > 0) > 0.9


def test_dense_breasts_hide_masses() -> None:
    def added_contrast(density: int) -> float:
        """Mean grey value added by the mass: difference of images drawn with and without it from one seed."""
        differences = []
        for seed in range(8):
            with_mass, without_mass = phantom(seed, density, masses=1), phantom(seed, density, masses=0)
            mask = rasterise(with_mass.outlines, HEIGHT, WIDTH) > 0
            differences.append(with_mass.pixels[mask].mean() - without_mass.pixels[mask].mean())
        return float(np.mean(differences))

    assert added_contrast(1) > 1.3 * added_contrast(4) > 0


@pytest.mark.parametrize("view", ["CC", "MLO"])
@pytest.mark.parametrize("side", ["L", "R"])
def test_outlines_are_inside_the_breast_and_the_chest_wall_is_at_its_edge(view: str, side: str) -> None:
    for seed in range(4):
        image = phantom(seed, 2, view, side, masses=2)
        mask = rasterise(image.outlines, HEIGHT, WIDTH) > 0
        assert (mask & image.breast).sum() >= 0.97 * mask.sum()
        chest_wall, free_edge = (0, -1) if side == "L" else (-1, 0)
        assert image.breast[:, chest_wall].mean() > 0.3
        assert not image.breast[:, free_edge].any()


@pytest.mark.parametrize("density", [1, 4])
def test_masses_have_the_size_of_real_ones(density: int) -> None:
    """Their area does not depend on the density. Median on CBIS-DDSM, cropped to the breast: 0.68 % of the image."""
    fractions = []
    for seed in range(30):
        image = phantom(seed, density, view="CC" if seed % 2 else "MLO")
        rows, columns = (np.flatnonzero(image.breast.any(axis=axis)) for axis in (1, 0))
        box = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        fractions.append(rasterise(image.outlines, HEIGHT, WIDTH).sum() / box)
    assert 0.005 < np.median(fractions) < 0.010, np.median(fractions)


def test_masses_of_simple_images_are_larger_and_have_a_higher_contrast() -> None:
    def median(appearance: str) -> tuple[float, float]:
        images = [phantom(seed, 1 + seed % 4, appearance=appearance) for seed in range(12)]
        areas = [rasterise(image.outlines, HEIGHT, WIDTH).sum() for image in images]
        return float(np.median(areas)), float(np.median([contrast_to_noise(image) for image in images]))

    realistic, simple = median("realistic"), median("simple")
    assert simple[0] > 1.5 * realistic[0]
    assert simple[1] > 1.5 * realistic[1]


def test_the_view_marker_is_not_segmented_as_breast() -> None:
    for view in ("CC", "MLO"):
        image = phantom(5, 3, view, "L")
        corner = (slice(0, 40), slice(WIDTH // 2, WIDTH))
        assert image.pixels[corner].max() > 3000
        assert not segment_breast(image.pixels)[corner].any()


def test_a_right_breast_is_a_mirrored_left_one_except_for_the_marker() -> None:
    left, right = phantom(1, 2, side="L"), phantom(1, 2, side="R")
    assert np.array_equal(left.breast[:, ::-1], right.breast)
    assert not np.array_equal(left.pixels[:, ::-1], right.pixels)
    np.testing.assert_allclose(left.outlines[0][:, 0], WIDTH - 1 - right.outlines[0][:, 0])


def test_the_image_depends_only_on_the_seed() -> None:
    assert np.array_equal(phantom(1, 2).pixels, phantom(1, 2).pixels)
    assert not np.array_equal(phantom(1, 2).pixels, phantom(2, 2).pixels)
    assert phantom(1, 2).pixels.max() <= 4095
