"""Comparison report: tables, page, figures and text."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from helpers.results_files import rows_of, write_run
from mammoseg.compare import tables
from mammoseg.compare.figures import plot_mass_size, plot_metrics
from mammoseg.compare.report import build_comparison, check_method_names, published_table, write_comparison_reports
from mammoseg.compare.summary import methods_sentences, summary_sentences
from mammoseg.conf import conf_dir
from mammoseg.errors import UserError
from mammoseg.runs import results
from mammoseg.runs.discovery import find_runs

QUALITY = {
    "au_net": 0.6,
    "arf_net": 0.62,
    "asp_quantile": 0.64,
    "asp_learned": 0.6,
    "asp_cluster": 0.7,
    "density_asp": 0.8,
}


def config(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("compare", ["runs=runs", "resamples=200", *overrides])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for method, quality in QUALITY.items():
        for seed in (0, 1):
            rows = rows_of(method, quality=quality, seed=seed, dataset="cbis_ddsm", experiment="table2")
            write_run(folder / f"{method}{seed}", rows)
    (path,) = write_comparison_reports([folder], folder / "out", config())
    return path.parent


def test_published_values_are_not_listed_if_a_test_image_has_no_mass(tmp_path: Path) -> None:
    rows = rows_of("au_net", quality=0.7, dataset="inbreast")
    write_run(tmp_path / "masses", rows)
    write_run(tmp_path / "negatives", [{**rows[0], "tp": 0, "fn": 0}, *rows[1:]])
    assert [published_table(find_runs([tmp_path / name]), config()) is None for name in ("masses", "negatives")] == [
        False,
        True,
    ]


def test_published_values_are_listed_with_the_difference(report: Path) -> None:
    with (report / "table2.csv").open() as lines:
        rows = {row["Method"]: row for row in csv.DictReader(lines)}
    assert list(rows) == [
        "AU-Net",
        "ARF-Net (reconstructed)",
        "ASP, quantile",
        "ASP, learned",
        "ASP, cluster",
        "Density-ASP",
    ]
    row = rows["ASP, cluster"]
    assert (row["paper DSC"], row["paper ΔA"], row["paper Sens."], row["paper Acc."]) == (
        "51.04",
        "4.47",
        "49.90",
        "99.45",
    )
    assert float(row["DSC ↑"]) - 51.04 == pytest.approx(float(row["diff. DSC"]), abs=0.011)


def test_only_the_published_row_of_arf_net_is_inconsistent(report: Path) -> None:
    notes = tables.inconsistent_published_rows(config().published.table2, {"arf_net": "ARF-Net"})
    assert len(notes) == 1
    assert "ARF-Net" in notes[0]
    assert "6.35" in notes[0]
    assert "11.47" in notes[0]
    assert "are inconsistent" in (report / "table2.md").read_text()


def test_best_values_are_bold_in_every_format(report: Path) -> None:
    line = next(line for line in (report / "table2.md").read_text().splitlines() if line.startswith("| Density-ASP"))
    assert line.split("|")[2].strip().startswith("**")
    assert "**50.64**" not in line  # the best published DSC is that of ASP, quantile
    assert "**51.48**" in (report / "table2.md").read_text()
    assert r"\textbf{51.48}" in (report / "table2.tex").read_text()
    assert "<strong>51.48</strong>" in (report / "report.html").read_text()


def test_latex_tables_are_rectangular_and_escaped(report: Path) -> None:
    for path in report.glob("*.tex"):
        text = path.read_text()
        lines = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len({line.count(" & ") for line in lines}) == 1, path
        assert not re.search(r"(?<!\\)[%_#]|[Δ↑↓±−θα]", text), path


class PageParser(HTMLParser):
    """Collects links, tables and unclosed tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open_tags: list[str] = []
        self.links: list[str] = []
        self.tables = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "source"):
            self.open_tags.append(tag)
        self.tables += tag == "table"
        self.links += [value or "" for name, value in attrs if name in ("src", "srcset", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag


def test_the_page_is_well_formed_and_self_contained(report: Path) -> None:
    page = PageParser()
    text = (report / "report.html").read_text()
    page.feed(text)
    assert not page.open_tags
    assert page.tables >= 10
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert not re.search(r"https?://", text)
    assert str(report.parent) not in text


def test_figures_are_written_as_png_and_svg(report: Path) -> None:
    for name in ("metrics", "density", "mass_size", "ranking"):
        assert (report / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (report / f"{name}.svg").read_text()


def test_the_title_names_the_table_and_the_dataset(report: Path) -> None:
    text = (report / "report.md").read_text()
    assert text.startswith("# Methods of Table 2 of the paper on CBIS-DDSM\n")
    assert "All values are for CBIS-DDSM. Source of the published values: Aliniya" in text


def test_the_axis_of_equal_values_has_a_range(tmp_path: Path) -> None:
    """Counts of empty predictions: the DSC is 0, and the accuracy the fraction of the background."""
    for seed in (0, 1):
        rows = [
            {**row, "tp": 0, "fp": 0, "fn": row["tp"] + row["fn"], "tn": row["tn"] + row["fp"]}
            for row in rows_of("a", quality=0.5, seed=seed)
        ]
        write_run(tmp_path / str(seed), results.with_metrics(rows))
    figure = plot_metrics(build_comparison(find_runs([tmp_path]), config()), {"a": "A"}, None)
    dsc, *_, accuracy = figure.axes
    assert dsc.get_xlim() == pytest.approx((-0.5, 0.5))
    low, high = accuracy.get_xlim()
    assert 0 < high - low < 1.2 * accuracy.dataLim.width


def test_the_summary_reports_the_primary_comparison(report: Path) -> None:
    text = (report / "report.md").read_text()
    corrected = r"p (=|<) 0\.\d+; p (=|<) 0\.\d+ after Holm's correction for 5 comparisons"
    pattern = rf"Density-ASP vs\. AU-Net: difference in pooled DSC \+\d.*\], which excludes 0; {corrected}\)\."
    assert re.search(pattern, text)
    assert re.search(r"ASP, learned vs\. AU-Net: difference in pooled DSC .*\], which includes 0; p ", text)
    assert "Standard deviation of the pooled DSC" in text
    for sentence in (
        "The unit of analysis is the patient",
        "All other differences between methods are exploratory",
        "If nothing differs",
    ):
        assert sentence in text


def test_a_method_limits_the_primary_comparison_to_one_test(report: Path, tmp_path: Path) -> None:
    cfg = config("primary_method=density_asp", "primary=sensitivity")
    (path,) = write_comparison_reports([report.parent], tmp_path / "out", cfg)
    with (path.parent / "primary.csv").open() as lines:
        (row,) = csv.DictReader(lines)
    assert (row["metric"], row["first"], row["second"]) == ("Sensitivity ↑", "Density-ASP", "AU-Net")
    assert row["p"] == row["p_holm"]
    summary = (path.parent / "report.md").read_text().split("## Summary")[1].split("## ")[0]
    assert "Density-ASP vs. AU-Net: difference in pooled Sensitivity" in summary
    assert "Holm's correction for" not in summary


def test_the_report_begins_with_the_main_table_and_the_forest_plot(report: Path) -> None:
    headings = [line for line in (report / "report.md").read_text().splitlines() if line.startswith(("#", "!", "**"))]
    assert headings[1:5] == [
        "## Results",
        f"**{headings[0].removeprefix('# ')}**",
        "![Pooled metrics with confidence intervals. Small dots: individual runs.](metrics.png)",
        "## Summary",
    ]


def test_single_runs_are_reported_as_trained_networks(tmp_path: Path) -> None:
    for method, quality in (("au_net", 0.5), ("density_asp", 0.8)):
        write_run(tmp_path / method, rows_of(method, quality=quality))
    (path,) = write_comparison_reports([tmp_path], tmp_path / "out", config())
    text = (path.parent / "report.md").read_text()
    assert "between these trained networks" in text
    assert "There are no p-values" in text
    assert not re.search(r"\bp (=|<) 0", text)
    with (path.parent / "pairs.csv").open() as lines:
        assert {(row["p"], row["p_holm"]) for row in csv.DictReader(lines)} == {("–", "–")}


def test_power_is_reported_for_several_seeds(report: Path) -> None:
    with (report / "power.csv").open() as lines:
        detectable = {int(row["seeds"]): float(row["detectable_difference"]) for row in csv.DictReader(lines)}
    assert list(detectable.values()) == sorted(detectable.values(), reverse=True)
    assert min(detectable.values()) > 0
    with (report / "required_seeds.csv").open() as lines:
        required = {float(row["difference"]): row["seeds"] for row in csv.DictReader(lines)}
    for difference, seeds in required.items():
        enough = [n for n, size in detectable.items() if size <= difference]
        assert seeds == "> 1000" or all((int(seeds) <= n) == (n in enough) for n in detectable)
        assert seeds != "> 1000" or not enough
    note = re.search(
        r"test patients (\d+\.\d\d) with one seed and (\d+\.\d\d) with many", (report / "power.md").read_text()
    )
    assert note is not None
    assert float(note[1]) > float(note[2])


def test_a_single_run_is_not_compared_with_other_methods(tmp_path: Path) -> None:
    write_run(tmp_path / "a", rows_of("au_net", quality=0.6, images=2))
    comparison = build_comparison(find_runs([tmp_path]), config())
    names = {"au_net": "AU-Net"}
    sentences = summary_sentences(comparison, names, "dsc", "au_net", None, [])
    assert not [sentence for sentence in sentences if "other methods" in sentence]
    assert "resampled together (1 test patient), and" in methods_sentences(comparison, names, "dsc", [])[0]


def test_secondary_outcomes_are_computed_from_the_files_of_the_runs(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", rows_of("au_net", quality=0.6))
    (run / "detection.csv").write_text("case,masses,found,false_positives\na,2,1,3\nb,2,2,0\n")
    bins = [[100, 20.0, 10, 50, 10.0, 10]] + [[0] * 6] * 9
    lines = ["pixels,probability,mass,breast_pixels,breast_probability,breast_mass"]
    (run / "calibration.csv").write_text("\n".join([*lines, *(",".join(map(str, row)) for row in bins)]))
    (path,) = write_comparison_reports([tmp_path], tmp_path / "out", config())
    with (path.parent / "secondary.csv").open() as table:
        (row,) = csv.DictReader(table)
    rows = results.read_results(run / "results.csv")
    areas = [sum(row["tp"] + row[key] for row in rows) for key in ("fp", "fn")]
    assert float(row["signed_area_difference"]) == pytest.approx(100 * (areas[0] / areas[1] - 1), abs=0.006)
    assert float(row["images_missed"]) == pytest.approx(100 * sum(row["tp"] == 0 for row in rows) / len(rows))
    assert (row["masses_found"], row["false_positives"]) == ("75.00", "1.50")
    assert (row["calibration_error"], row["breast_calibration_error"]) == ("10.000", "0.000")


def test_secondary_outcomes_of_earlier_versions_are_unknown(report: Path) -> None:
    with (report / "secondary.csv").open() as lines:
        assert {(row["masses_found"], row["breast_calibration_error"]) for row in csv.DictReader(lines)} == {("–", "–")}


def test_tied_methods_are_not_ranked_and_no_value_is_bold(tmp_path: Path) -> None:
    for method in ("au_net", "density_asp"):
        write_run(tmp_path / method, [{**row, "method": method} for row in rows_of("a", quality=0.7)])
    (path,) = write_comparison_reports([tmp_path], tmp_path / "out", config())
    report = (path.parent / "report.md").read_text()
    assert not [line for line in report.splitlines() if line.startswith("|") and "**" in line]
    assert "+0.00 percentage points between these trained networks" in report
    assert "(95 % CI over patients [+0.00, +0.00], which includes 0)" in report
    assert "−0.00" not in report
    assert not (path.parent / "ranking.md").exists()


def test_methods_are_not_ranked_in_a_single_fold_and_seed(tmp_path: Path) -> None:
    """The mean over two seeds and the only common seed have different orders."""
    for method, qualities in (("au_net", [0.5, 0.9]), ("density_asp", [0.6])):
        for seed, quality in enumerate(qualities):
            write_run(tmp_path / f"{method}{seed}", rows_of(method, quality=quality, seed=seed))
    (path,) = write_comparison_reports([tmp_path], tmp_path / "out", config())
    assert not (path.parent / "ranking.md").exists()


def test_runs_that_are_not_ranked_are_counted(tmp_path: Path) -> None:
    for method, seeds in (("au_net", 3), ("density_asp", 2)):
        for seed in range(seeds):
            write_run(tmp_path / f"{method}{seed}", rows_of(method, quality=0.6, seed=seed))
    (path,) = write_comparison_reports([tmp_path], tmp_path / "out", config())
    table = (path.parent / "ranking.md").read_text()
    assert "in the 2 pairs of fold and seed" in table
    assert "Runs without a counterpart in every method (1 of 5)" in table


def test_variants_of_the_baseline_are_listed(tmp_path: Path) -> None:
    for alpha in (1.0, 2.0):
        write_run(tmp_path / str(alpha), rows_of("au_net", quality=0.5 + alpha / 10), {"loss": {"alpha": alpha}})
    write_run(tmp_path / "b", rows_of("arf_net", quality=0.7))
    (path,) = write_comparison_reports([tmp_path], tmp_path / "out", config())
    report = (path.parent / "report.md").read_text()
    assert "No runs of the method" not in report
    assert "differ in their settings (AU-Net (loss.alpha=1.0), AU-Net (loss.alpha=2.0))" in report
    assert re.search(r"\| AU-Net \(loss.alpha=1.0\) .*\n\| AU-Net \(loss.alpha=2.0\) .*\n\| ARF-Net", report)
    assert "'baseline=\"au_net (loss.alpha=1.0)\"'" in report
    cfg = config('baseline="au_net (loss.alpha=1.0)"')
    (path,) = write_comparison_reports([tmp_path], tmp_path / "out2", cfg)
    assert "AU-Net (loss.alpha=2.0) vs. AU-Net (loss.alpha=1.0): difference" in (path.parent / "report.md").read_text()


def test_a_single_method_is_not_ranked(tmp_path: Path) -> None:
    write_run(tmp_path / "a", rows_of("au_net", quality=0.6))
    (path,) = write_comparison_reports([tmp_path], tmp_path / "out", config())
    assert not (path.parent / "ranking.md").exists()
    assert "**" not in (path.parent / "uncertainty.md").read_text()


def test_normal_images_have_no_results_by_mass_size(tmp_path: Path) -> None:
    write_run(tmp_path / "normals", [{**row, "tp": 0, "fn": 0} for row in rows_of("au_net", quality=0.6)])
    comparison = build_comparison(find_runs([tmp_path]), config())
    assert tables.size_tables(comparison, {}) == []
    assert plot_mass_size(comparison, {}) is None


def test_a_sweep_over_theta_and_alpha_is_plotted(tmp_path: Path) -> None:
    for theta in ([1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.85, 0.95]):
        for alpha in (1.0, 2.0):
            rows = rows_of("density_asp", quality=0.5 + 0.1 * alpha)
            write_run(tmp_path / f"{theta[0]}{alpha}", rows, {"loss": {"theta": theta, "alpha": alpha}})
    (path,) = write_comparison_reports([tmp_path], tmp_path / "out", config())
    assert (path.parent / "sweep.png").is_file()
    assert "Density-ASP (loss.alpha=1.0, loss.theta=[1.0,1.0,1.0,1.0])" in path.read_text()


def test_datasets_are_reported_separately(tmp_path: Path) -> None:
    for dataset in ("inbreast", "cbis_ddsm"):
        write_run(tmp_path / dataset, rows_of("au_net", quality=0.6, dataset=dataset))
    paths = write_comparison_reports([tmp_path], tmp_path / "out", config())
    assert [path.parent.name for path in paths] == ["cbis_ddsm", "inbreast"]
    assert "Table 1" in paths[1].read_text()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("level=95", "between 0 and 1"),
        ("level=high", "between 0 and 1"),
        ("names=null", "must map methods to display names"),
        ("seed=-1", "at least 0"),
        ("resamples=5", "at least 100"),
        ("primary=iou", "must be one of dsc, area_difference, sensitivity, accuracy, got iou"),
        ("paper=table3", "table1"),
    ],
)
def test_invalid_settings_are_rejected_before_anything_is_written(tmp_path: Path, override: str, message: str) -> None:
    write_run(tmp_path / "a", rows_of("au_net", quality=0.6))
    with pytest.raises(UserError, match=message):
        write_comparison_reports([tmp_path], tmp_path / "out", config(override))
    assert not (tmp_path / "out").exists()


def test_pairs_csv_has_machine_readable_column_names(report: Path) -> None:
    header = (report / "pairs.csv").read_text().splitlines()[0]
    assert (
        header
        == "metric,first,second,difference,interval,standard_error,degrees_of_freedom,p,p_holm,median,effect_size"
    )
    assert "| p (Holm) |" in (report / "pairs.md").read_text()


def test_display_names_of_unknown_methods_are_reported(report: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run, *_) = find_runs([report.parent])
    comparison = build_comparison([run], config())
    (method,) = comparison.data.runs
    cfg = config()
    cfg.names = {"au_net": "A", "arf_net": "B", "mine": "C", f"{method}x": "D", method: "E"}
    check_method_names(cfg, [comparison])
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        f"names.{method}x is not used, since no run has this method; did you mean {method}?",
        "names.mine is not used, since no run has this method",
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["baseline=au_nett"], "baseline must be a method of the runs, got au_nett; did you mean au_net?"),
        (["primary_method=density_aps"], "primary_method must be a method of the runs, got density_aps; did you mean"),
        (["primary_method=au_net"], "primary_method must differ from baseline, got au_net for both"),
    ],
)
def test_unknown_methods_of_the_primary_comparison_are_rejected(
    overrides: list[str], message: str, report: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        write_comparison_reports([report.parent], tmp_path / "out", config(*overrides))
    assert not (tmp_path / "out").exists()
