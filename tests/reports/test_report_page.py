"""Report pages: escaping, sections, tables and figures."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from mammoseg.files import TMP_PREFIX
from mammoseg.reports.page import Section, render_html, write_report
from mammoseg.reports.plotting import save_figure, save_svg_and_png
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
    section = Section(HOSTILE, [HOSTILE], [table], [(tmp_path / "a.png", HOSTILE)])
    text = render_html(HOSTILE, [section])
    assert "<img src=x" not in text
    # page title twice, section title twice, text, caption, column headings, cells, note, alternative text and caption
    assert text.count(ESCAPED) == 2 + 2 + 1 + 1 + 2 + 2 + 1 + 2
    assert f"<td>{ESCAPED}</td>" in text
    assert f"<td><strong>{ESCAPED}</strong></td>" in text
    assert f"data:image/png;base64,{base64.b64encode(b'png').decode()}" in text


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
