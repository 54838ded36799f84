"""The page of a comparison in a browser: nothing is cut off in wide and narrow windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from helpers.browser import CHROMIUM, Browser
from helpers.results_files import rows_of, write_run
from mammoseg.compare.report import write_comparison_reports
from mammoseg.conf import conf_dir

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for method, quality in (("au_net", 0.6), ("asp_cluster", 0.7), ("density_asp", 0.8)):
        rows = rows_of(method, quality=quality, dataset="cbis_ddsm", experiment="table2")
        write_run(folder / method, rows)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("compare", ["runs=runs", "resamples=100"])
    (path,) = write_comparison_reports([folder], folder / "out", cfg)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


LAYOUT = """
  await Promise.all([...document.images].map((image) => image.decode()));
  await new Promise((resolve) => setTimeout(resolve, 50));
  const scrollers = [...document.querySelectorAll(".scroller")];
  const isWide = (scroller) => scroller.firstElementChild.scrollWidth > scroller.clientWidth + 1;
  const hint = (scroller) => getComputedStyle(scroller, "::after").content;
  return {
    pageFits: document.documentElement.scrollWidth <= window.innerWidth,
    wide: scrollers.filter(isWide).length,
    wideWithoutHint: scrollers.filter((scroller) => isWide(scroller) && !hint(scroller).includes("scroll")).length,
    hintWithoutNeed: scrollers.filter((scroller) => !isWide(scroller) && hint(scroller).includes("scroll")).length,
    mainTableIsWide: isWide(scrollers[0]),
    forestPlot: [...document.querySelectorAll("#results img")].map((image) => ({
      isWide: isWide(image.closest(".scroller")),
      bottom: image.getBoundingClientRect().bottom,
      aspect: image.naturalWidth / image.naturalHeight,
    })),
    wideFigures: scrollers.filter((scroller) => scroller.querySelector("img") && isWide(scroller)).length,
    widestName: Math.max(...[...document.querySelectorAll("td.long")].map((cell) => cell.offsetWidth)),
    background: getComputedStyle(document.body).backgroundColor,
  };
"""


def test_the_table_and_the_forest_plot_fit_on_the_first_screen(report: Path, browser: Browser) -> None:
    layout = browser.evaluate(browser.open_page(report, 1280), LAYOUT)
    assert layout["pageFits"]
    assert not layout["mainTableIsWide"]
    (forest_plot,) = layout["forestPlot"]
    assert not forest_plot["isWide"]
    assert forest_plot["bottom"] < 900
    assert (layout["wideWithoutHint"], layout["hintWithoutNeed"]) == (0, 0)


@pytest.mark.parametrize("colour_scheme", ["light", "dark"])
def test_figures_and_long_names_fit_into_a_narrow_window(tmp_path: Path, browser: Browser, colour_scheme: str) -> None:
    for i in range(8):
        rows = rows_of(f"density_asp-{i}", quality=0.1 * i, dataset="cbis_ddsm")
        write_run(tmp_path / str(i), rows)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("compare", ["runs=runs", "resamples=100"])
    cfg.names = {f"density_asp-{i}": f"Density-ASP (loss.theta=[0.25,0.5,0.75,{i / 10}])" for i in range(8)}
    (path,) = write_comparison_reports([tmp_path], tmp_path / "out", cfg)
    layout = browser.evaluate(browser.open_page(path, 400, colour_scheme), LAYOUT)
    assert layout["pageFits"]
    assert layout["wideFigures"] == 0
    assert layout["widestName"] < 200, "the values of a table are visible beside the names"


def test_wide_tables_scroll_with_a_hint_in_a_narrow_window(report: Path, browser: Browser) -> None:
    session_id = browser.open_page(report, 400, "dark")
    layout = browser.evaluate(session_id, LAYOUT)
    assert layout["pageFits"]
    assert layout["mainTableIsWide"]
    assert layout["wide"] > 3
    assert (layout["wideWithoutHint"], layout["hintWithoutNeed"]) == (0, 0)
    (forest_plot,) = layout["forestPlot"]
    assert not forest_plot["isWide"]
    assert forest_plot["aspect"] < 1, "the panels are in one column"
    assert layout["background"] == "rgb(23, 23, 26)"
    reached_end = browser.evaluate(
        session_id,
        """
        const wide = document.querySelector(".wide");
        wide.scrollLeft = wide.scrollWidth;
        await new Promise((resolve) => setTimeout(resolve, 100));
        return wide.parentElement.classList.contains("at-end");
        """,
    )
    assert reached_end
