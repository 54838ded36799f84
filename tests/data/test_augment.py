"""Augmentation: the same contract for albumentations and MONAI."""

from __future__ import annotations

import pickle
from collections import Counter
from types import SimpleNamespace
from typing import Any

import albumentations
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from numpy.typing import NDArray

from mammoseg.conf import conf_dir
from mammoseg.data.augment import Augmentation
from mammoseg.data.augment_monai import MonaiAugmentation
from mammoseg.data.sampling import AugmentedDataset
from mammoseg.errors import UserError

NAMES = sorted(path.stem for path in (conf_dir() / "augment").glob("*.yaml") if path.stem != "none")
Sample = tuple[NDArray[Any], NDArray[Any]]


def augment_config(name: str) -> Any:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("train", [f"augment={name}"]).augment


@pytest.fixture(scope="module", params=NAMES)
def augment(request: pytest.FixtureRequest) -> Any:
    return instantiate(augment_config(request.param))


def sample() -> Sample:
    """A bright disc on a textured breast."""
    rows, columns = np.mgrid[:96, :96]
    disc = (rows - 50) ** 2 + (columns - 30) ** 2 < 12**2
    image = np.where(columns < 70, 0.3, 0).astype(np.float32)
    image += (0.6 * disc + 0.05 * np.random.default_rng(0).random((96, 96))).astype(np.float32)
    return image.clip(0, 1), disc.astype(np.uint8)


def test_shapes_types_and_values(augment: Any) -> None:
    image, mask = sample()
    for seed in range(20):
        new_image, new_mask = augment(image.copy(), mask.copy(), seed)
        assert (new_image.shape, new_image.dtype) == (image.shape, np.float32)
        assert (new_mask.shape, new_mask.dtype) == (mask.shape, np.uint8)
        assert np.isfinite(new_image).all()
        assert set(np.unique(new_mask)) <= {0, 1}
        assert new_image.flags.c_contiguous
        assert new_mask.flags.c_contiguous


def test_the_result_depends_only_on_the_seed(augment: Any) -> None:
    image, mask = sample()
    first = [augment(image, mask, seed) for seed in range(8)]
    copy = pickle.loads(pickle.dumps(augment))  # as in a worker process of a DataLoader
    for seed in reversed(range(8)):
        again = copy(image, mask, seed)
        assert all(np.array_equal(a, b) for a, b in zip(first[seed], again, strict=True))
    assert len({pair[0].tobytes() for pair in first}) > 3
    expected = sample()
    assert np.array_equal(image, expected[0]), "the input is not modified"
    assert np.array_equal(mask, expected[1])


def test_the_mask_moves_with_the_image(augment: Any) -> None:
    """The disc remains brighter than its surroundings under the augmented mask."""
    image, mask = sample()
    moved = 0
    for seed in range(20):
        new_image, new_mask = augment(image, mask, seed)
        if new_mask.sum() < 50:
            continue  # moved out of the image
        moved += not np.array_equal(new_mask, mask)
        inside, outside = new_image[new_mask > 0], new_image[(new_mask == 0) & (new_image > 0.1)]
        assert np.median(inside) > np.median(outside) + 0.15, seed
    assert moved > 5


@pytest.mark.parametrize("name", NAMES)
def test_transforms_are_applied_independently(name: str) -> None:
    """Each combination of horizontal and vertical flip is as frequent as the others."""
    cfg = augment_config(name)
    cfg.transforms = cfg.transforms[:2]
    augment = instantiate(cfg)
    image, n = np.zeros((4, 4), np.float32), 400
    image[0, 1] = 1
    corners = Counter(int(augment(image, image.astype(np.uint8), seed)[1].argmax()) for seed in range(n))
    assert set(corners) == {1, 2, 13, 14}
    assert max(abs(count - n / 4) for count in corners.values()) < 5 * (n * 3 / 16) ** 0.5


@pytest.mark.parametrize("name", ["strong", "strong_monai"])
def test_rotations_are_symmetric(name: str) -> None:
    """The random number that decides whether a transform is applied is not that of its first parameter."""
    cfg = augment_config(name)
    cfg.transforms = [transform for transform in cfg.transforms if "Affine" in transform["_target_"]]
    augment = instantiate(cfg)
    image = np.zeros((65, 65), np.float32)
    image[31:34, 8:57] = 1  # a horizontal bar through the centre
    slopes = []
    for seed in range(300):
        rows, columns = np.nonzero(augment(image, image.astype(np.uint8), seed)[1])
        slopes.append(np.polyfit(columns, rows, 1)[0])
    assert min(slopes) < -0.35
    assert max(slopes) > 0.35
    assert abs(np.mean(slopes)) < 5 * np.std(slopes) / len(slopes) ** 0.5


def augmented_sample(augment: Any, image: NDArray[Any], mask: NDArray[Any]) -> dict[str, Any]:
    """Load a sample as in training."""
    store = SimpleNamespace(images=[image], masks=[mask], density=[0], density_score=[0.0])
    return AugmentedDataset(store, augment, seed=0)[(0, 0, None, 0)]  # type: ignore[arg-type, index]


@pytest.mark.parametrize(
    ("transform", "size"),
    [
        (albumentations.RandomCrop(32, 16), "32x16"),
        (albumentations.Resize(30, 30), "30x30"),
        (albumentations.Transpose(p=1), "64x48"),
    ],
)
def test_a_transform_that_changes_the_size_is_rejected(transform: albumentations.BasicTransform, size: str) -> None:
    image, mask = np.zeros((48, 64), np.float32), np.zeros((48, 64), np.uint8)
    with pytest.raises(UserError, match=f"must keep the size of the images, 48x64 pixels, got {size}"):
        augmented_sample(Augmentation([transform]), image, mask)


def test_a_transform_of_monai_that_changes_the_size_is_rejected() -> None:
    transforms = pytest.importorskip("monai.transforms")
    crop = transforms.RandSpatialCropd(keys=["image", "mask"], roi_size=(32, 16), random_size=False)
    image, mask = np.zeros((48, 64), np.float32), np.zeros((48, 64), np.uint8)
    with pytest.raises(UserError, match="must keep the size of the images, 48x64 pixels, got 32x16"):
        augmented_sample(MonaiAugmentation([crop]), image, mask)
