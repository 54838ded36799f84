"""COCO files: read with pycocotools, and equal to the masks."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from mammoseg.errors import UserError
from mammoseg.metrics.regions import connected_regions
from mammoseg.predict.coco import encode_image, merge_images
from mammoseg.predict.findings import Findings


def findings(seed: int, shape: tuple[int, int] = (90, 70)) -> Findings:
    """Some masses, one of them with a hole, of random probabilities above 0.5; none for seed 0."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    mask = np.zeros(shape, bool)
    for index in range(seed):
        squared = (rows - 20 * index - 15) ** 2 + (columns - 30) ** 2
        mask |= (squared < (60 + 10 * index)) & (squared > 9 * index)
    prob = np.random.default_rng(seed).uniform(0.5, 1, shape).astype(np.float32) * mask
    return Findings(prob, None, mask, connected_regions(mask, prob))


@pytest.fixture
def merged(tmp_path: Path) -> tuple[Path, dict[str, Findings]]:
    predictions = {f"sub/{seed}.png": findings(seed, (90 + seed, 70)) for seed in (2, 0, 3)}
    paths = []
    for index, (file, prediction) in enumerate(predictions.items()):
        paths.append(tmp_path / f"{index}.json")
        paths[-1].write_bytes(encode_image(file, prediction))
    with (tmp_path / "coco.json").open("w") as output:
        merge_images(paths, output)
    return tmp_path / "coco.json", predictions


def test_the_merged_file_contains_all_masses(merged: tuple[Path, dict[str, Findings]]) -> None:
    path, predictions = merged
    content = json.loads(path.read_text())
    assert [image["file_name"] for image in content["images"]] == [*predictions]
    assert [image["id"] for image in content["images"]] == [1, 2, 3]
    assert [annotation["id"] for annotation in content["annotations"]] == [1, 2, 3, 4, 5]
    assert [annotation["image_id"] for annotation in content["annotations"]] == [1, 1, 3, 3, 3]
    assert [annotation["mass"] for annotation in content["annotations"]] == [1, 2, 1, 2, 3]
    masses = [mass for prediction in predictions.values() for mass in prediction.masses]
    for annotation, mass in zip(content["annotations"], masses, strict=True):
        assert annotation["area"] == mass.area
        assert annotation["score"] == pytest.approx(mass.max_prob, abs=1e-4)
        assert annotation["probability"] == pytest.approx(mass.mean_prob, abs=1e-4)


# pycocotools 2.0.11 with NumPy 2
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
def test_pycocotools_reads_the_masks(
    merged: tuple[Path, dict[str, Findings]], capsys: pytest.CaptureFixture[str]
) -> None:
    coco_module = pytest.importorskip("pycocotools.coco")
    coco_mask = pytest.importorskip("pycocotools.mask")
    path, predictions = merged
    coco = coco_module.COCO(str(path))
    capsys.readouterr()  # it prints its progress
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["mass"]
    for image, prediction in zip(coco.loadImgs(coco.getImgIds()), predictions.values(), strict=True):
        assert (image["height"], image["width"]) == prediction.mask.shape
        mask = np.zeros_like(prediction.mask)
        for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
            region = coco.annToMask(annotation) > 0
            assert not (mask & region).any()
            assert region.sum() == annotation["area"]
            assert coco_mask.toBbox(coco.annToRLE(annotation)).tolist() == annotation["bbox"]
            mask |= region
        np.testing.assert_array_equal(mask, prediction.mask)


@pytest.mark.parametrize("seeds", [[], [0]])
def test_a_file_without_masses_or_images_is_valid(tmp_path: Path, seeds: list[int]) -> None:
    for seed in seeds:
        (tmp_path / "a.json").write_bytes(encode_image("a.png", findings(seed)))
    output = io.StringIO()
    merge_images(tmp_path.glob("*.json"), output)
    merged = json.loads(output.getvalue())
    assert merged["annotations"] == []
    assert len(merged["images"]) == len(seeds)


@pytest.mark.parametrize("content", ["{", "[]", '{"images": [], "annotations": []}', '{"images": [1]}'])
def test_a_damaged_file_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(UserError, match=r"a\.json: damaged; remove it and repeat the prediction"):
        merge_images([tmp_path / "a.json"], io.StringIO())
