"""The page in a browser, opened from disk: what it says is computed again here, from the arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from viewer_files import draw_run, draw_store

from helpers.browser import CHROMIUM, Browser
from mammoseg.view.from_runs import load_run_views
from mammoseg.view.writer import write

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

CASES = ["a", "b", "c", "d", "e", "f"]
# `see` notes down what the page shows; `until` waits for it.
PROBE = """
const seen = {};
const until = async (holds) => {
  for (let n = 0; !holds(); n += 1) {
    if (n === 1200) throw new Error(`waited in vain: ${holds}`);
    await new Promise((go) => setTimeout(go, 25));
  }
};
const settled = (place) =>
  until(() => $("status").textContent.startsWith(`${place} of `) && $("panels").children.length);
const down = (key) => new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
const press = (key, on = document.body) => on.dispatchEvent(down(key));
const put = (id, value, event) => { $(id).value = value; $(id).dispatchEvent(new Event(event, { bubbles: true })); };
const see = (name, more = {}) => {
  seen[name] = {
    told: $("status").textContent, trouble: $("error").textContent, threshold: $("threshold-value").textContent,
    panels: [...$("panels").children].map((figure) => ({
      values: [...figure.querySelectorAll("td[data-metric]")].map((cell) => cell.textContent),
      note: figure.querySelector(".note").textContent,
      colours: colours(figure.querySelector("canvas")),
    })),
    list: [...$("list").querySelectorAll(".name")].map((cell) => cell.textContent),
    scores: [...$("list").querySelectorAll(".score")].map((cell) => cell.textContent),
    fits: document.documentElement.scrollWidth <= window.innerWidth,
    ...more,
  };
};
// The box around the pixels that are distinctly green, blue, or of the heat-map's red, in pixels of the image.
const colours = (canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const found = { green: null, blue: null, red: null };
  const add = (name, x, y) => {
    const [left, top, right, bottom] = found[name] || [x, y, x, y];
    const [toX, toY] = [x + 1 / SCALE, y + 1 / SCALE];
    found[name] = [Math.min(left, x), Math.min(top, y), Math.max(right, toX), Math.max(bottom, toY)];
  };
  const SCALE = canvas.width / 48;
  for (let at = 0; at < data.length; at += 4) {
    const [r, g, b] = [data[at], data[at + 1], data[at + 2]];
    const [x, y] = [((at / 4) % canvas.width) / SCALE, Math.floor(at / 4 / canvas.width) / SCALE];
    if (g > r + 80 && g > b + 80) add("green", x, y);
    if (b > r + 80 && b > g + 80) add("blue", x, y);
    if (r > g + 40 && r > b + 10) add("red", x, y);
  }
  return found;
};
await settled(1);
"""


def drive(viewer: Path, steps: str, profile: Path, width: int = 1280) -> dict[str, Any]:
    """What the page showed during `steps`, statements of its user."""
    with Browser(profile) as browser:
        return browser.run(viewer / "index.html", f"{PROBE} {steps} return seen;", width)


def box(mask: NDArray[np.bool_]) -> list[int]:
    """Left, top, right and bottom of the pixels' outer edges."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def values(pred: NDArray[np.bool_], true: NDArray[np.bool_]) -> list[str]:
    """DSC, area difference, sensitivity and accuracy in %, by their definitions."""
    overlap, area = (pred & true).sum(), true.sum()
    difference = abs(int(pred.sum()) - int(area)) / area
    dsc = 2 * overlap / (pred.sum() + area)
    return [f"{100 * value:.2f}" for value in (dsc, difference, overlap / area, (pred == true).mean())]


@pytest.mark.parametrize("width", [390, 1280])
def test_numbers_pictures_and_keys(tmp_path: Path, width: int) -> None:
    truths = draw_store(tmp_path / "prepared" / "phantom-1", CASES)
    one = draw_run(tmp_path / "runs" / "one", CASES, truths, seed=1)
    two = draw_run(tmp_path / "runs" / "two", CASES[1:], truths[1:], seed=2, threshold=0.3)
    viewer = write(load_run_views([tmp_path / "runs"], tmp_path / "prepared"), tmp_path / "viewer").parent
    steps = """
      see("start");
      press("j"); await settled(2); press("ArrowDown"); await settled(3); press("k"); await settled(2);
      put("threshold", 64, "input"); see("quarter");
      press("]"); see("above"); press("["); press("r"); see("back");
      press("p"); see("truth only"); press("g"); press("p"); see("prediction only");
      put("threshold", 200, "input"); see("high"); press("r"); press("p");
      see("neither"); press("h"); see("heat"); press("h"); press("g"); press("p");
      put("density", "2", "change"); await settled(1); see("density 2");
      put("density", "", "change"); put("order", "low", "change"); see("lowest first");
      put("order", "given", "change"); press("Home"); await settled(1); press("j"); await settled(2);
      put("other", "1", "change"); await until(() => $("panels").children.length === 2); see("two");
      put("run", "1", "change"); await until(() => $("threshold-value").textContent === "0.3");
      await until(() => $("panels").children.length === 1); await settled(1);
      see("second run");
      put("search", "nobody", "input"); see("none", { hidden: $("panels").hidden }); put("search", "", "input");
      press("j", $("threshold")); await settled(2); press("ArrowRight", $("threshold")); press("j", $("search"));
      see("typing");
    """
    seen = drive(viewer, steps, tmp_path / "profile", width)
    assert all(each["fits"] and not each["trouble"] for each in seen.values())
    assert seen["start"]["list"] == CASES
    assert seen["start"]["panels"][0]["values"] == [
        *values(one.levels[0] >= 128, truths[0]),
        *values(one.levels >= 128, truths),
    ]
    assert seen["start"]["scores"] == [values(one.levels[n] >= 128, truths[n])[0] for n in range(len(CASES))]
    for name, step in (("quarter", 64), ("above", 66), ("back", 128), ("high", 200)):
        expected = [*values(one.levels[1] >= step, truths[1]), *values(one.levels >= step, truths)]
        assert seen[name]["panels"][0]["values"] == expected, name
    assert [seen[name]["threshold"] for name in ("quarter", "back")] == ["0.25", "0.5"]
    for name, green, blue, red in (
        ("back", True, True, False),
        ("truth only", True, False, False),
        ("prediction only", False, True, False),
        ("neither", False, False, False),
        ("heat", False, False, True),
    ):
        found = seen[name]["panels"][0]["colours"]
        assert {colour: place is not None for colour, place in found.items()} == {
            "green": green,
            "blue": blue,
            "red": red,
        }, name
    for name, colour, mask in (
        ("truth only", "green", truths[1]),
        ("prediction only", "blue", one.levels[1] >= 128),
        ("high", "blue", one.levels[1] >= 200),
    ):
        np.testing.assert_allclose(seen[name]["panels"][0]["colours"][colour], box(mask), atol=0.15, err_msg=name)
    assert seen["density 2"]["list"] == ["b", "f"]
    assert seen["density 2"]["panels"][0]["values"][4:] == values(one.levels[[1, 5]] >= 128, truths[[1, 5]])
    assert [float(score) for score in seen["lowest first"]["scores"]] == sorted(map(float, seen["start"]["scores"]))
    assert seen["two"]["panels"][1]["values"] == [
        *values(two.levels[0] >= 128, truths[1]),
        *values(two.levels >= 128, truths[1:]),
    ]
    assert seen["second run"]["list"] == CASES[1:]
    assert seen["second run"]["panels"][0]["values"][4:] == values(two.levels >= 77, truths[1:])
    assert seen["none"]["told"] == "No image passes the filters."
    assert seen["none"]["hidden"]
    assert seen["typing"]["told"].startswith("2 of 5")  # arrow keys belong to the slider, letters to the search


def test_a_run_of_an_earlier_version_says_what_to_do(tmp_path: Path) -> None:
    truths = draw_store(tmp_path / "prepared" / "phantom-1", CASES)
    old = draw_run(tmp_path / "old", CASES, truths, seed=1, old=True)
    viewer = write(load_run_views([tmp_path / "old"], tmp_path / "prepared"), tmp_path / "viewer").parent
    steps = """press("h"); press("["); press("r"); see("old", { fixed: $("threshold").disabled });"""
    seen = drive(viewer, steps, tmp_path / "profile")["old"]
    assert seen["fixed"]
    assert "python -m mammoseg.evaluate" in seen["panels"][0]["note"]
    assert seen["panels"][0]["values"][4:] == values(old.levels >= 128, truths)
    assert [name for name, place in seen["panels"][0]["colours"].items() if place is not None] == ["green", "blue"]


def test_a_missing_data_file_is_told(tmp_path: Path) -> None:
    truths = draw_store(tmp_path / "prepared" / "phantom-1", CASES)
    draw_run(tmp_path / "one", CASES, truths, seed=1)
    viewer = write(load_run_views([tmp_path / "one"], tmp_path / "prepared"), tmp_path / "viewer").parent
    (viewer / "data" / "image-3.js").unlink()
    steps = """press("End"); await settled(6); $("list").children[3].firstChild.click();
      await until(() => !$("error").hidden); see("gap"); press("j"); await settled(5); see("after");"""
    seen = drive(viewer, steps, tmp_path / "profile")
    assert seen["gap"]["trouble"].startswith("data/image-3.js is missing")
    assert seen["after"]["trouble"] == ""
