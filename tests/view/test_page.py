"""The page in a browser, opened from disk; displayed values are compared with values computed from the arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from viewer_files import write_synthetic_run, write_synthetic_store

from helpers.browser import CHROMIUM, Browser
from mammoseg.view.from_runs import load_run_views
from mammoseg.view.writer import write_files

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

CASES = ["a", "b", "c", "d", "e", "f"]
# Helpers of the scripts below: `snapshot` records the state of the page under a name, `waitFor` waits for a condition.
HELPERS = """
const snapshots = {};
const waitFor = async (condition) => {
  for (let i = 0; !condition(); i += 1) {
    if (i === 1200) throw new Error(`timed out: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
};
const waitForImage = (position) =>
  waitFor(() => $("status").textContent.startsWith(`${position} of `) && $("panels").children.length);
const press = (key, target = document.body) =>
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const setValue = (id, value, event) => {
  $(id).value = value;
  $(id).dispatchEvent(new Event(event, { bubbles: true }));
};
const textsOf = (element, selector) => [...element.querySelectorAll(selector)].map((child) => child.textContent);
const snapshot = (name, extra = {}) => {
  snapshots[name] = {
    status: $("status").textContent, error: $("error").textContent, threshold: $("threshold-value").textContent,
    panels: [...$("panels").children].map((figure) => ({
      values: textsOf(figure, "td[data-metric]"),
      note: figure.querySelector(".note").textContent,
      boxes: colourBoxes(figure.querySelector("canvas")),
    })),
    names: textsOf($("image-list"), ".name"),
    scores: textsOf($("image-list"), ".score"),
    fitsWidth: document.documentElement.scrollWidth <= window.innerWidth,
    ...extra,
  };
};
// Bounding boxes, in image pixels, of the canvas pixels that are clearly cyan, orange, or red as in the heat map.
const colourBoxes = (canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const scale = canvas.width / 48;
  const boxes = { cyan: null, orange: null, red: null };
  const extend = (name, x, y) => {
    const [left, top, right, bottom] = boxes[name] || [x, y, x, y];
    const [nextX, nextY] = [x + 1 / scale, y + 1 / scale];
    boxes[name] = [Math.min(left, x), Math.min(top, y), Math.max(right, nextX), Math.max(bottom, nextY)];
  };
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b] = [data[i], data[i + 1], data[i + 2]];
    const [x, y] = [((i / 4) % canvas.width) / scale, Math.floor(i / 4 / canvas.width) / scale];
    if (g > r + 80 && b > r + 80) extend("cyan", x, y);
    if (r > b + 120 && g > b + 60) extend("orange", x, y);
    if (r > g + 40 && r > b + 10 && b > g) extend("red", x, y);
  }
  return boxes;
};
const showOriginalOrder = async () => {
  setValue("order", "original", "change"); press("Home");
  await waitFor(() => $("status").textContent.startsWith("1 of 6: a"));
};
await waitForImage(1);
"""


def take_snapshots(viewer: Path, script: str, profile: Path, width: int = 1280) -> dict[str, Any]:
    """Run a script in the page; returns the snapshots that it takes, by name."""
    with Browser(profile) as browser:
        return dict(browser.run(viewer / "index.html", f"{HELPERS} {script} return snapshots;", width))


def bounding_box(mask: NDArray[np.bool_]) -> list[int]:
    """Left, top, right and bottom of a mask; right and bottom are exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def metric_values(pred: NDArray[np.bool_], truth: NDArray[np.bool_]) -> list[str]:
    """DSC, area difference, sensitivity and accuracy in %, by definition."""
    overlap, area = (pred & truth).sum(), truth.sum()
    area_difference = abs(int(pred.sum()) - int(area)) / area
    dsc = 2 * overlap / (pred.sum() + area)
    return [f"{100 * value:.2f}" for value in (dsc, area_difference, overlap / area, (pred == truth).mean())]


@pytest.mark.parametrize("width", [390, 1280])
def test_values_images_and_keyboard_shortcuts(tmp_path: Path, width: int) -> None:
    truths = write_synthetic_store(tmp_path / "prepared" / "phantom-1", CASES)
    first = write_synthetic_run(tmp_path / "runs" / "one", CASES, truths, seed=1)
    second = write_synthetic_run(tmp_path / "runs" / "two", CASES[1:], truths[1:], seed=2, threshold=0.3)
    viewer = write_files(load_run_views([tmp_path / "runs"], tmp_path / "prepared"), tmp_path / "viewer").parent
    script = """
      snapshot("default order"); await showOriginalOrder();
      snapshot("start", { comparison: $("comparison").value, isolated: !$("no-comparison").hidden });
      press("j"); await waitForImage(2); press("ArrowDown"); await waitForImage(3); press("k"); await waitForImage(2);
      setValue("threshold", 64, "input"); snapshot("threshold 0.25");
      press("]"); snapshot("increased"); press("["); press("r"); snapshot("reset");
      press("p"); snapshot("truth only"); press("g"); press("p"); snapshot("prediction only");
      setValue("threshold", 200, "input"); snapshot("high threshold"); press("r"); press("p");
      snapshot("image only"); press("h"); snapshot("heat map"); press("h"); press("g"); press("p");
      setValue("density", "2", "change"); await waitForImage(1); snapshot("density 2");
      setValue("density", "", "change"); setValue("order", "lowest", "change"); snapshot("lowest first");
      setValue("order", "original", "change"); press("Home"); await waitForImage(1); press("j"); await waitForImage(2);
      await waitFor(() => $("panels").children.length === 2);
      snapshot("comparison");
      setValue("run", "1", "change"); await waitFor(() => $("threshold-value").textContent === "0.3");
      await waitForImage(1); await waitFor(() => $("panels").children.length === 2);
      setValue("comparison", "", "change"); await waitFor(() => $("panels").children.length === 1);
      snapshot("second run");
      setValue("search", "no such image", "input"); snapshot("no match", { hidden: $("panels").hidden });
      setValue("search", "", "input");
      press("j", $("threshold")); await waitForImage(2); press("ArrowRight", $("threshold")); press("j", $("search"));
      snapshot("keys in inputs");
    """
    snapshots = take_snapshots(viewer, script, tmp_path / "profile", width)
    assert all(snapshot["fitsWidth"] and not snapshot["error"] for snapshot in snapshots.values())
    assert snapshots["default order"]["scores"] == snapshots["lowest first"]["scores"][::-1]
    assert snapshots["start"]["names"] == CASES
    assert snapshots["start"]["comparison"] == "1"
    assert not snapshots["start"]["isolated"]
    assert snapshots["start"]["panels"][0]["values"] == [
        *metric_values(first.levels[0] >= 128, truths[0]),
        *metric_values(first.levels >= 128, truths),
    ]
    scores = [metric_values(levels >= 128, truth)[0] for levels, truth in zip(first.levels, truths, strict=True)]
    assert snapshots["start"]["scores"] == scores
    for name, level in (("threshold 0.25", 64), ("increased", 66), ("reset", 128), ("high threshold", 200)):
        expected = [*metric_values(first.levels[1] >= level, truths[1]), *metric_values(first.levels >= level, truths)]
        assert snapshots[name]["panels"][0]["values"] == expected, name
    assert [snapshots[name]["threshold"] for name in ("threshold 0.25", "reset")] == ["0.25", "0.5"]
    for name, colours in (
        ("reset", {"cyan", "orange"}),
        ("truth only", {"cyan"}),
        ("prediction only", {"orange"}),
        ("image only", set()),
        ("heat map", {"red"}),
    ):
        boxes = snapshots[name]["panels"][0]["boxes"]
        assert {colour for colour, box in boxes.items() if box is not None} == colours, name
    for name, colour, mask in (
        ("truth only", "cyan", truths[1]),
        ("prediction only", "orange", first.levels[1] >= 128),
        ("high threshold", "orange", first.levels[1] >= 200),
    ):
        box = snapshots[name]["panels"][0]["boxes"][colour]
        np.testing.assert_allclose(box, bounding_box(mask), atol=0.4, err_msg=name)  # half the width of the line
    assert snapshots["density 2"]["names"] == ["b", "f"]
    assert snapshots["density 2"]["panels"][0]["values"][4:] == metric_values(
        first.levels[[1, 5]] >= 128, truths[[1, 5]]
    )
    assert snapshots["lowest first"]["scores"] == sorted(scores, key=float)
    assert snapshots["comparison"]["panels"][1]["values"] == [
        *metric_values(second.levels[0] >= 128, truths[1]),
        *metric_values(second.levels >= 128, truths[1:]),
    ]
    assert snapshots["second run"]["names"] == CASES[1:]
    assert snapshots["second run"]["panels"][0]["values"][4:] == metric_values(second.levels >= 77, truths[1:])
    assert snapshots["no match"]["status"] == "No images match the filters."
    assert snapshots["no match"]["hidden"]
    # Arrow keys on a slider and letters in the search field do not select another image.
    assert snapshots["keys in inputs"]["status"].startswith("2 of 5")


def test_runs_on_different_images_are_not_compared(tmp_path: Path) -> None:
    for i, name in enumerate(("one", "two")):
        truths = write_synthetic_store(tmp_path / "prepared" / f"phantom-{i}", CASES, seed=i)
        write_synthetic_run(tmp_path / "runs" / name, CASES, truths, seed=i)
    viewer = write_files(load_run_views([tmp_path / "runs"], tmp_path / "prepared"), tmp_path / "viewer").parent
    script = 'snapshot("start", { text: $("no-comparison").hidden ? "" : $("no-comparison").textContent });'
    snapshot = take_snapshots(viewer, script, tmp_path / "profile")["start"]
    assert snapshot["text"] == "No other run was tested on the same prepared images as this run."
    assert len(snapshot["panels"]) == 1


def test_run_without_probabilities(tmp_path: Path) -> None:
    truths = write_synthetic_store(tmp_path / "prepared" / "phantom-1", CASES)
    run = write_synthetic_run(tmp_path / "old", CASES, truths, seed=1, masks_only=True)
    viewer = write_files(load_run_views([tmp_path / "old"], tmp_path / "prepared"), tmp_path / "viewer").parent
    script = """press("h"); press("["); press("r"); snapshot("run", { disabled: $("threshold").disabled });"""
    snapshot = take_snapshots(viewer, script, tmp_path / "profile")["run"]
    assert snapshot["disabled"]
    (panel,) = snapshot["panels"]
    assert "python -m mammoseg.evaluate" in panel["note"]
    assert panel["values"][4:] == metric_values(run.levels >= 128, truths)
    assert {colour for colour, box in panel["boxes"].items() if box is not None} == {"cyan", "orange"}


def test_missing_data_file_is_reported(tmp_path: Path) -> None:
    truths = write_synthetic_store(tmp_path / "prepared" / "phantom-1", CASES)
    write_synthetic_run(tmp_path / "one", CASES, truths, seed=1)
    viewer = write_files(load_run_views([tmp_path / "one"], tmp_path / "prepared"), tmp_path / "viewer").parent
    (viewer / "data" / "image-1.js").unlink()  # not of the image with the highest DSC, which is shown first
    script = """
      await showOriginalOrder(); press("End"); await waitForImage(6);
      $("image-list").children[1].firstChild.click();
      await waitFor(() => !$("error").hidden); snapshot("missing");
      press("j"); await waitForImage(3); snapshot("next");
    """
    snapshots = take_snapshots(viewer, script, tmp_path / "profile")
    assert snapshots["missing"]["error"].startswith("data/image-1.js is missing")
    assert snapshots["next"]["error"] == ""


def test_images_are_ordered_by_the_distance_from_the_median(tmp_path: Path) -> None:
    truths = write_synthetic_store(tmp_path / "prepared" / "phantom-1", CASES)
    run = write_synthetic_run(tmp_path / "one", CASES, truths, seed=1)
    viewer = write_files(load_run_views([tmp_path / "one"], tmp_path / "prepared"), tmp_path / "viewer").parent
    script = """
      setValue("order", "median", "change"); snapshot("median");
      setValue("density", "1", "change"); snapshot("density 1");
    """
    snapshots = take_snapshots(viewer, script, tmp_path / "profile")
    pairs = zip(run.levels, truths, strict=True)
    scores = np.array([float(metric_values(levels >= 128, truth)[0]) for levels, truth in pairs])
    for name, subset in (("median", slice(None)), ("density 1", slice(0, None, 4))):
        listed = np.array(snapshots[name]["scores"], float)
        assert sorted(listed) == sorted(scores[subset])
        assert (np.diff(np.abs(listed - np.median(scores[subset]))) >= -0.01).all()
