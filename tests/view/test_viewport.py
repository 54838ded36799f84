"""Zoom, pan, window and level of the viewer, with mouse, touch and keyboard events of the browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from viewer_files import SIZE, write_synthetic_run, write_synthetic_store

from helpers.browser import CHROMIUM, Browser
from mammoseg.view.from_runs import load_run_views
from mammoseg.view.writer import write_files

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

VIEWPORT = "return [state.viewport.zoom, state.viewport.x, state.viewport.y]"
GREY_WINDOW = "return [greyWindow().width, greyWindow().level]"
WHOLE_IMAGE = [1, 0.5, 0.5]


class OpenViewer:
    """The viewer of one run with two images of SIZE x SIZE pixels in a browser.

    Args:
        browser: The browser.
        page: index.html of the viewer.
    """

    def __init__(self, browser: Browser, page: Path) -> None:
        self.browser = browser
        self.session_id = browser.open_page(page)
        self.wait_for('$("panels").children.length')

    def evaluate(self, script: str) -> Any:
        return self.browser.evaluate(self.session_id, script)

    def wait_for(self, condition: str) -> None:
        self.evaluate(f"while (!({condition})) await new Promise((resolve) => setTimeout(resolve, 25));")

    def press(self, *keys: str, shift: bool = False) -> None:
        for key in keys:
            self.browser.press(self.session_id, key, shift=shift)

    def position(self, x: float, y: float) -> tuple[float, float]:
        """Position in the window of a position in fractions of the canvas."""
        box = 'const { left, top, width, height } = document.querySelector("canvas").getBoundingClientRect();'
        left, top, width, height = self.evaluate(f"{box} return [left, top, width, height]")
        return left + x * width, top + y * height

    def drag(self, start: tuple[float, float], end: tuple[float, float], button: str = "left") -> None:
        """Drag between two positions in fractions of the canvas."""
        self.browser.drag(self.session_id, self.position(*start), self.position(*end), button)

    def pixels(self) -> np.ndarray[Any, Any]:
        """Red, green and blue (SIZE, SIZE, 3) in the middle of each image pixel, with the whole image visible."""
        script = f"""
          const canvas = document.querySelector("canvas");
          const middle = (index) => Math.floor(((index + 0.5) * canvas.width) / {SIZE});
          const context = canvas.getContext("2d");
          const values = [];
          for (let y = 0; y < {SIZE}; y += 1) {{
            for (let x = 0; x < {SIZE}; x += 1) {{
              values.push(...context.getImageData(middle(x), middle(y), 1, 1).data.slice(0, 3));
            }}
          }}
          return values;
        """
        return np.array(self.evaluate(script), float).reshape(SIZE, SIZE, 3)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("viewer")
    truths = write_synthetic_store(folder / "prepared" / "phantom-1", ["a", "b"])
    write_synthetic_run(folder / "run", ["a", "b"], truths, seed=1)
    return write_files(load_run_views([folder / "run"], folder / "prepared"), folder / "viewer")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def viewer(browser: Browser, page: Path) -> OpenViewer:
    return OpenViewer(browser, page)


def test_zoom_and_pan(viewer: OpenViewer) -> None:
    # The wheel zooms about the mouse: the image position below it, (0.25, 0.75), does not move.
    x, y = viewer.position(0.25, 0.75)
    wheel = {"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": -120}
    viewer.browser.send_command("Input.dispatchMouseEvent", viewer.session_id, **wheel)
    viewer.wait_for("state.viewport.zoom > 1")
    zoom, x, y = viewer.evaluate(VIEWPORT)
    assert zoom == pytest.approx(2**0.5)
    assert [x - 0.25 / zoom, y + 0.25 / zoom] == pytest.approx([0.25, 0.75], abs=2e-3)
    viewer.drag((0.6, 0.4), (0.5, 0.5))
    assert viewer.evaluate(VIEWPORT) == pytest.approx([zoom, x + 0.1 / zoom, y - 0.1 / zoom], abs=2e-3)
    viewer.press("0")
    viewer.drag((0.6, 0.4), (0.1, 0.5))
    assert viewer.evaluate(VIEWPORT) == WHOLE_IMAGE, "there is nothing outside the image to move to"
    viewer.press("+")
    viewer.press("ArrowRight", "ArrowUp", shift=True)
    assert viewer.evaluate(VIEWPORT) == pytest.approx([1.5, 0.5 + 0.1 / 1.5, 0.5 - 0.1 / 1.5])
    viewer.press("j")
    viewer.wait_for("state.rowIndex === 1")
    viewer.wait_for("state.viewport.zoom === 1")
    assert viewer.evaluate(VIEWPORT) == WHOLE_IMAGE


def test_pinching_zooms(viewer: OpenViewer) -> None:
    viewer.browser.send_command("Emulation.setTouchEmulationEnabled", viewer.session_id, enabled=True, maxTouchPoints=2)
    for kind, distance in (("touchStart", 0.1), ("touchMove", 0.2), ("touchMove", 0.3), ("touchEnd", None)):
        fingers = (
            []
            if distance is None
            else [viewer.position(0.5 - distance / 2, 0.4), viewer.position(0.5 + distance / 2, 0.4)]
        )
        points = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(fingers)]
        viewer.browser.send_command("Input.dispatchTouchEvent", viewer.session_id, type=kind, touchPoints=points)
    zoom, x, y = viewer.evaluate(VIEWPORT)
    assert zoom == pytest.approx(3, rel=0.02)
    assert [x, y - 0.1 / zoom] == pytest.approx([0.5, 0.4], abs=0.01)


def test_the_visible_part_is_drawn(viewer: OpenViewer) -> None:
    """At zoom 3, the middle of each image pixel is at every third position in the canvas."""
    viewer.press("g", "p")
    whole = viewer.pixels()
    left, top = 5, 20
    viewer.evaluate(f"setViewport(3, {left / SIZE + 1 / 6}, {top / SIZE + 1 / 6})")
    expected = whole[top : top + SIZE // 3, left : left + SIZE // 3]
    np.testing.assert_allclose(viewer.pixels()[1::3, 1::3], expected, atol=2)


def test_window_and_level(viewer: OpenViewer) -> None:
    viewer.press("g", "p")
    before = viewer.pixels()
    assert len(np.unique(before)) > 50
    after = viewer.evaluate("setGreyWindow(40, 30)") or viewer.pixels()
    expected = 255 * ((before / 255 - (0.30 - 0.40 / 2)) / 0.40)
    np.testing.assert_allclose(
        after, np.clip(expected, 0, 255), atol=3.5
    )  # both images are rounded to whole grey values
    viewer.press("x")
    viewer.drag((0.5, 0.5), (0.3, 0.6), "right")
    assert viewer.evaluate(GREY_WINDOW) == pytest.approx([80, 60], abs=0.5)
    viewer.press("x", "w", "w", "W", "L")
    assert viewer.evaluate(GREY_WINDOW) == [95, 55]


def test_truth_is_visible_beside_a_prediction_that_coincides_with_it(viewer: OpenViewer) -> None:
    """The prediction line is narrower than that of the ground truth and has dark edges."""
    colours = """
      const { image } = panels[0].images;
      const values = image.values.map((_, i) => Number(i % 48 > 15 && i % 48 < 32 && i > 480 && i < 1500));
      const mask = { ...image, values };
      const canvas = document.querySelector("canvas");
      const layers = { truth: true, prediction: true };
      const display = { ...state, thresholdLevel: null, layers, opacity: 0, greyWindow: greyWindow() };
      drawPanel(canvas, { image: { ...image, values: image.values.map(() => 200) }, truth: mask, mask }, display);
      const x = (24 * canvas.width) / 48;
      const row = canvas.getContext("2d").getImageData(0, Math.round((20.5 * canvas.height) / 48), x, 1).data;
      return [...Array(x).keys()].map((i) => [...row.slice(4 * i, 4 * i + 3)]);
    """
    drawn = np.array(viewer.evaluate(colours), int)  # in the middle of the mask, from left to right across its edge
    references = {"cyan": (53, 196, 255), "orange": (255, 163, 26), "dark": (16, 16, 20)}
    names = np.array([*references, ""])
    # Pixels at the transition of two colours have a colour in between.
    distances = np.abs(drawn[:, None] - np.array(list(references.values()))).max(axis=2)
    nearest = names[np.where(distances.min(axis=1) < 90, distances.argmin(axis=1), -1)]
    order = [name for name, previous in zip(nearest, ["", *nearest], strict=False) if name and name != previous]
    assert order == ["dark", "cyan", "dark", "orange", "dark", "cyan", "dark"]


def test_the_controls_are_beside_the_image(viewer: OpenViewer) -> None:
    boxes = """
      const controls = ["truth", "threshold", "opacity", "window", "level", "zoom-in", "reset-zoom"];
      const elements = [document.querySelector("canvas"), document.querySelector("#panels table"), ...controls.map($)];
      return elements.map((element) => element.getBoundingClientRect().toJSON());
    """
    canvas, table, *controls = viewer.evaluate(boxes)
    assert max(box["bottom"] for box in (canvas, table, *controls)) <= 900
    assert all(canvas["right"] < box["left"] and box["right"] <= 1280 for box in controls)


def test_the_list_of_images_can_be_hidden_and_searched(viewer: OpenViewer) -> None:
    is_visible = 'return $("list").offsetWidth > 0'
    viewer.press("i")
    assert not viewer.evaluate(is_visible)
    viewer.press("/")
    assert viewer.evaluate(is_visible)
    assert viewer.evaluate('return document.activeElement === $("search")')
    viewer.press("j")
    assert viewer.evaluate('return [$("search").value, state.rowIndex]') == ["j", 0]
    viewer.press("Escape")
    assert viewer.evaluate("return document.activeElement === document.body")
