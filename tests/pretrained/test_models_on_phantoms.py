"""Contract: the models of the package find masses in synthetic mammograms, whose breasts are on either side."""

from __future__ import annotations

import numpy as np
import pytest

import mammoseg
from mammoseg.data.images.masks import rasterise
from mammoseg.phantom.anatomy import draw_phantom
from mammoseg.pretrained import registry

N_IMAGES = 8
MIN_DSC = 0.2  # measured: 0.31 (AU-Net) and 0.38


@pytest.mark.parametrize("side", ["L", "R"])
@pytest.mark.parametrize("name", [model.name for model in registry.list_models()])
def test_masses_of_phantoms_are_found(name: str, side: str) -> None:
    predictor = mammoseg.load(name)
    intersection = total = 0
    for seed in range(N_IMAGES):
        phantom = draw_phantom(
            np.random.default_rng(seed),
            density=1 + seed % 4,
            view=("CC", "MLO")[seed % 2],
            side=side,
            height=416,
            width=320,
        )
        mass = rasterise(phantom.outlines, *phantom.pixels.shape) > 0
        mask = predictor(phantom.pixels).mask > 0
        intersection += int((mask & mass).sum())
        total += int(mask.sum() + mass.sum())
    dsc = 2 * intersection / total
    assert dsc > MIN_DSC
