"""What is drawn for a synthetic CBIS-DDSM: patients, images, abnormalities, and the UIDs that identify them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from mammoseg.phantom.write import densities

TEST_SHARE = 0.22  # of the patients
SEVERAL = 0.15  # of the images have two or three masses
SWAPPED = 0.1  # of the masses: mask and crop stand in each other's column
RESIZED = 0.08  # of the masses: the mask has another size than the image


@dataclass(frozen=True)
class Lesion:
    number: int
    swapped: bool
    scale: float  # of the mask's sides; 1 where they are the image's


@dataclass(frozen=True)
class Plan:
    """One image to be drawn."""

    patient: str
    part: str  # Training or Test
    side: str  # LEFT or RIGHT
    view: str
    density: int
    lesions: tuple[Lesion, ...]
    seed: tuple[int, int]

    @property
    def name(self) -> str:
        return f"Mass-{self.part}_{self.patient}_{self.side}_{self.view}"

    @property
    def masses(self) -> int:
        return len(self.lesions)


def plan(cases: int, seed: int) -> list[Plan]:
    """Patients of one to four images each; a patient's breasts are of one density, and in one part."""
    rng = np.random.default_rng(seed)
    views = [(side, view) for side in ("LEFT", "RIGHT") for view in ("CC", "MLO")]
    patients: list[list[tuple[str, str]]] = []
    while (left := cases - sum(map(len, patients))) > 0:
        count = min(int(rng.integers(1, 5)), left)
        patients.append([views[chosen] for chosen in sorted(rng.permutation(4)[:count])])
    density = densities(rng, len(patients))
    numbers = sorted(rng.choice(np.arange(1, 2000), len(patients), replace=False).tolist())
    tested = set(rng.permutation(len(patients))[: max(round(TEST_SHARE * len(patients)), 1)].tolist())
    images = [(who, *view) for who, chosen in enumerate(patients) for view in chosen]
    # Each trap at least once: in the first three images.
    return [
        Plan(
            patient=f"P_{numbers[who]:05d}",
            part="Test" if who in tested else "Training",
            side=side,
            view=view,
            density=density[who],
            lesions=lesions(rng, several=place == 0, swapped=place == 1, resized=place == 2),
            seed=(seed, place),
        )
        for place, (who, side, view) in enumerate(images)
    ]


def lesions(rng: np.random.Generator, *, several: bool, swapped: bool, resized: bool) -> tuple[Lesion, ...]:
    count = int(rng.integers(2, 4)) if several or rng.random() < SEVERAL else 1
    first = 1 + int(rng.random() < 0.05)  # the real ids are not always 1..n
    return tuple(
        Lesion(
            number=first + n,
            swapped=bool(swapped or rng.random() < SWAPPED),
            scale=float(rng.uniform(0.8, 0.95)) if resized or rng.random() < RESIZED else 1.0,
        )
        for n in range(count)
    )


def uid(*sources: object) -> str:
    """A UID under the root that CBIS-DDSM's own have."""
    number = int(hashlib.sha256(repr(sources).encode()).hexdigest()[:32], 16)
    return f"1.3.6.1.4.1.9590.100.1.2.{number}"


def series_of(image: Plan, lesion: Lesion | None = None, what: str = "") -> tuple[str, str]:
    """The UIDs of study and series. Crop and mask share them, but for those whose columns are swapped."""
    apart = what if lesion is not None and lesion.swapped else ""
    number = lesion.number if lesion is not None else 0
    return uid("study", image.name, number, apart), uid("series", image.name, number, apart)
