"""Percent density, contrast and size of the masses in prepared images, to compare synthetic with real mammograms.

python benchmarks/phantom_realism.py [setting ...]     settings of mammoseg.prepare; dataset.size=128 by default

For example, dataset=phantom dataset.source.cases=400, or dataset=folder dataset.root=DIR. Prints the medians for each
ACR category. The contrast-to-noise ratio is the mean grey value of the masses minus that of a ring around them, divided
by the standard deviation in the ring. The percent density is that of `cases.csv`. Images without a mass are not used;
the background must be 0, as with dataset.normalise=minmax.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from statistics import median

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from numpy.typing import NDArray
from scipy import ndimage

from mammoseg.conf import conf_dir
from mammoseg.density import ACRDensity

INNER, OUTER = 2, 8  # radii of the ring in pixels


def contrast_to_noise(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """Return the contrast-to-noise ratio of the masses of a prepared image, whose background is 0."""
    dilated = [ndimage.binary_dilation(mask, iterations=radius) for radius in (INNER, OUTER)]
    ring = image[dilated[1] & ~dilated[0] & (image > 0)]
    return float((image[mask].mean() - ring.mean()) / ring.std())


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", metavar="setting")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("prepare", ["dataset.size=128", *parser.parse_args().settings])
    store = instantiate(cfg.dataset).open_store(require_outlines=True)
    densities, contrasts, fractions = defaultdict(list), defaultdict(list), []
    for row, case in enumerate(store.cases):
        mask = np.asarray(store.masks[row]) > 0
        if not mask.any():
            continue
        densities[case.density].append(case.percent_density)
        contrasts[case.density].append(contrast_to_noise(np.asarray(store.images[row], np.float32), mask))
        fractions.append(mask.mean())
    print(f"{len(store.cases)} images; image covered by masses: {100 * median(fractions):.2f} %\n")
    print("| | " + " | ".join(f"ACR {category}" for category in ACRDensity) + " |\n|---|---|---|---|---|")
    for name, values, digits in (("percent density", densities, 2), ("contrast-to-noise ratio", contrasts, 1)):
        print(f"| {name} | " + " | ".join(f"{median(values[category]):.{digits}f}" for category in ACRDensity) + " |")


if __name__ == "__main__":
    main()
