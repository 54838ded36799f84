"""Report pages: escaping, sections, tables and figures."""

from __future__ import annotations

import base64
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from mammoseg.files import TMP_PREFIX
from mammoseg.reports.narrow_figures import narrow_png
from mammoseg.reports.page import ReportFigure, Section, render_html, write_report
from mammoseg.reports.plotting import save_figure, save_svg_and_png, wrap_name
from mammoseg.reports.table import Table
from mammoseg.reports.templates import render

HOSTILE = "</script><img src=x onerror=alert(1)>&\"'"
ESCAPED = "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&amp;&#34;&#39;"


def figure() -> Figure:
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    return figure


def test_html_is_escaped(tmp_path: Path) -> None:
    table = Table("t", HOSTILE, [HOSTILE, HOSTILE], [[HOSTILE, HOSTILE]], frozenset({(0, 1)}), [HOSTILE])
    (tmp_path / "a.png").write_bytes(b"png")
    section = Section(HOSTILE, [HOSTILE], [table], [ReportFigure(tmp_path / "a.png", HOSTILE, b"narrow")])
    text = render_html("Title", [section])
    assert "<img src=x" not in text
    # section title twice, text, caption and label of the table, column headings, cells, note, alternative text, caption
    assert text.count(ESCAPED) == 2 + 1 + 2 + 2 + 2 + 1 + 2
    assert render_html(HOSTILE, []).count(ESCAPED) == 2
    assert f'<td class="long">{ESCAPED}</td>' in text
    assert f"<td><strong>{ESCAPED}</strong></td>" in text
    assert f'src="data:image/png;base64,{base64.b64encode(b"png").decode()}"' in text
    assert f'srcset="data:image/png;base64,{base64.b64encode(b"narrow").decode()}"' in text


def test_the_caption_of_a_table_is_omitted_if_it_is_the_title_of_the_page() -> None:
    table = Table("t", "Title", ["Method"], [["A"]])
    assert "<h3>" not in render_html("Title", [Section("Results", tables=[table])])
    assert "<h3>Title</h3>" in render_html("Other", [Section("Results", tables=[table])])


def test_several_texts_are_a_list() -> None:
    assert "<p>one</p>" in render_html("Title", [Section("S", ["one"])])
    text = render_html("Title", [Section("S", ["one", "two"])])
    assert "<li>one</li>" in text
    assert "<p>one</p>" not in text


def test_panels_are_stacked_for_narrow_windows() -> None:
    wide = Figure(figsize=(11, 3), layout="constrained")
    axes = wide.subplots(1, 3, sharey=True)
    for axis in axes:
        axis.plot([0, 1], [0, 1], label="a method with all its settings, which do not fit on one line of the legend")
        axis.set_yticks([0, 1], ["first", "second, with all its settings (alpha=1.0, beta=[0.5,0.75,0.85,0.95])"])
    wide.suptitle("A title that does not fit into a narrow figure and is therefore wrapped")
    wide.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    image = cv2.imdecode(np.frombuffer(narrow_png(wide), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[1] == int(4.2 * 110)
    heights = [axis.get_position().height * image.shape[0] for axis in axes]
    assert min(heights) > 2 * 110, "the legend does not take the place of the panels"
    boxes = [axis.get_position() for axis in axes]
    assert all(upper.y0 > lower.y1 for upper, lower in itertools.pairwise(boxes))
    assert all(box.width > 0.5 for box in boxes)
    assert all(axis.get_yticklabels()[0].get_text() == "first" for axis in axes)
    margin = np.concatenate([image[:, :2].ravel(), image[:, -2:].ravel(), image[:2].ravel(), image[-2:].ravel()])
    assert (margin == 255).all(), "nothing is cut off at the border"


def test_a_legend_in_a_panel_is_moved_above_it_for_narrow_windows() -> None:
    wide = Figure(figsize=(8, 3), layout="constrained")
    axis = wide.subplots()
    names = [f"Density-ASP (loss.theta=[0.25,0.5,0.75,{i / 10}])" for i in range(8)]
    for y, name in enumerate(names):
        axis.plot([0, 1], [y, y], label=name)
    axis.set_xticks(range(8), names)
    axis.legend()
    image = cv2.imdecode(np.frombuffer(narrow_png(wide), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    assert axis.get_legend() is None
    (legend,) = wide.legends
    assert ["".join(text.get_text().split()) for text in legend.get_texts()] == [
        name.replace(" ", "") for name in names
    ]
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= wide.bbox.width
    assert axis.get_window_extent().y1 < box.y0
    labels = [label.get_window_extent() for label in axis.get_xticklabels()]
    assert all(label.x0 >= 0 and label.y0 >= 0 for label in labels)


@given(
    parts=st.lists(st.text("ab", min_size=1, max_size=9), min_size=1), separators=st.data(), width=st.integers(10, 30)
)
def test_wrapping_keeps_the_characters_of_a_name_and_the_width_of_lines(
    parts: list[str], separators: st.DataObject, width: int
) -> None:
    name = "".join(part + separators.draw(st.sampled_from(" =,")) for part in parts).strip()
    lines = wrap_name(name, width).splitlines()
    assert max(map(len, lines)) <= width
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")


def test_write_report_omits_empty_sections_and_writes_tables(tmp_path: Path) -> None:
    table = Table("numbers", "Numbers", ["Method", "DSC ↑"], [["a_b", "−1.00"]])
    path = write_report("Title", [Section("Full", tables=[table]), Section("Empty")], tmp_path / "out")
    assert path == tmp_path / "out" / "report.html"
    assert sorted(file.name for file in path.parent.iterdir()) == [
        *("numbers.csv", "numbers.md", "numbers.tex", "report.html", "report.md")
    ]
    assert "Empty" not in path.read_text()
    assert (path.parent / "numbers.csv").read_text() == "Method,DSC ↑\na_b,-1.00\n"
    assert (
        path.with_name("report.md").read_text()
        == "# Title\n\n## Full\n\n**Numbers**\n\n| Method | DSC ↑ |\n|---|---|\n| a_b | −1.00 |\n"
    )
    assert r"a\_b & $-$1.00 \\" in (path.parent / "numbers.tex").read_text()


def test_json_in_templates_does_not_close_the_script_element(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<script>{{ data | tojson }}</script>")
    text = render(tmp_path / "page.html", data={"z": HOSTILE, "a": 1})
    assert text.count("</script>") == 1
    assert text.index('"z"') < text.index('"a"'), "keys must keep their order"


def test_figures_are_written_atomically_and_reproducibly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    png = save_svg_and_png(figure(), tmp_path / "1_curve.v2")
    assert png == tmp_path / "1_curve.v2.png"
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(first) == {"1_curve.v2.png", "1_curve.v2.svg"}
    save_svg_and_png(figure(), tmp_path / "1_curve.v2")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first

    def fail_during_write(_: Figure, file: object, **__: object) -> None:
        file.write(b"partial")  # type: ignore[attr-defined]
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail_during_write)
    with pytest.raises(OSError, match="No space left"):
        save_figure(figure(), png)
    assert png.read_bytes() == first[png.name]
    assert not list(tmp_path.glob(f"{TMP_PREFIX}*"))
