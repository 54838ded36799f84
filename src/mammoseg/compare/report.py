"""Write the report of a comparison: report.html, report.md, tables and figures."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from omegaconf import DictConfig

from mammoseg import validate
from mammoseg.compare import figures, tables
from mammoseg.compare.qualitative_figure import qualitative_figure
from mammoseg.errors import UserError
from mammoseg.files import atomic_write
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.reports.page import Section, write_report
from mammoseg.reports.plotting import save_svg_and_png
from mammoseg.reports.table import MISSING, Table, format_effect, format_p, format_signed
from mammoseg.runs.discovery import RunResults, find_runs
from mammoseg.runs.settings import HEADLINE
from mammoseg.statistics.alignment import AlignedRuns, align_runs
from mammoseg.statistics.comparison import Comparison, Difference

log = logging.getLogger(__name__)

PAPER_CHOICES = ("auto", "none")
UNITS = ("image", "patient")
PUBLISHED_BY_DATASET = {"inbreast": "table1", "cbis_ddsm": "table2"}
ALTERNATIVE_TEXTS = {
    "figure2": "Qualitative comparison (green: ground truth, blue: prediction)",
    "metrics": "Metrics of each method with intervals",
    "density": "Metrics by ACR category",
    "mass_size": "DSC against mass size",
    "calibration": "Reliability diagram",
    "ranking": "Pooled DSC by fold and seed",
    "sweep": "Pooled DSC against theta and alpha",
}


def write_comparison_reports(folders: Sequence[Path], output: Path, cfg: DictConfig) -> list[Path]:
    """Compare the runs in `folders` and write one report per dataset.

    Args:
        folders: Run folders, or folders that contain them.
        output: Output folder; with several datasets, each report is in a subfolder named after its dataset.
        cfg: Settings as in conf/compare.yaml.

    Returns:
        Paths of the report.html files.

    Raises:
        UserError: If a setting is invalid or the runs cannot be compared. Nothing is written in this case.
    """
    validate_settings(cfg)
    runs = find_runs(folders)
    datasets = sorted({run.dataset for run in runs})
    if len(datasets) > 1:
        log.warning("found runs of %d datasets, %s; writing one report for each", len(datasets), ", ".join(datasets))
    runs_by_dataset = {dataset: [run for run in runs if run.dataset == dataset] for dataset in datasets}
    # Build all comparisons first, so that nothing is written if one of them fails.
    comparisons = {dataset: build_comparison(group, cfg) for dataset, group in runs_by_dataset.items()}
    return [
        write_comparison_report(
            comparison,
            output / dataset if len(datasets) > 1 else output,
            published_table(runs_by_dataset[dataset], cfg),
            cfg,
        )
        for dataset, comparison in comparisons.items()
    ]


def validate_settings(cfg: DictConfig) -> None:
    """Validate the settings of conf/compare.yaml.

    Raises:
        UserError: If a setting is invalid.
    """
    validate.probability("level", cfg.level)
    validate.positive_int("resamples", cfg.resamples, minimum=100)
    validate.positive_int("seed", cfg.seed, minimum=0)
    validate.positive_int("per_density", cfg.per_density)
    validate.one_of("unit", cfg.unit, UNITS)
    validate.one_of("paper", cfg.paper, (*PAPER_CHOICES, *cfg.published))
    if not isinstance(cfg.baseline, str):
        raise UserError(f"baseline must be the name of a method, got {cfg.baseline}")
    if not isinstance(cfg.names, DictConfig):
        raise UserError(f"names must map methods to names, such as {{au_net: AU-Net}}, got {cfg.names}")


def build_comparison(runs: Sequence[RunResults], cfg: DictConfig) -> Comparison:
    """Compare runs of one dataset; methods are in the order of `cfg.names`, others follow alphabetically."""
    data = align_runs(runs)
    order = list(cfg.names)
    methods = sorted(data.runs, key=lambda method: (order.index(method) if method in order else len(order), method))
    data = replace(data, runs={method: data.runs[method] for method in methods})
    return Comparison(data, cfg.resamples, cfg.level, cfg.seed, cfg.unit)


def published_table(runs: Sequence[RunResults], cfg: DictConfig) -> Mapping[str, Any] | None:
    """Return the published table to compare the runs with, or None.

    `cfg.paper` names it; "auto" chooses it by the experiment or the dataset of the runs.
    """
    name = cfg.paper
    if name == "auto":
        experiments = {run.rows[0]["experiment"] for run in runs}
        (experiment,) = experiments if len(experiments) == 1 else ("",)
        name = experiment if experiment in cfg.published else PUBLISHED_BY_DATASET.get(runs[0].dataset, "none")
    table: Mapping[str, Any] | None = None if name == "none" else cfg.published[name]
    return table


def write_comparison_report(
    comparison: Comparison, output: Path, published: Mapping[str, Any] | None, cfg: DictConfig
) -> Path:
    """Write report, tables and figures of one comparison.

    Args:
        comparison: The comparison.
        output: Output folder.
        published: A table of conf/published, or None.
        cfg: Settings as in conf/compare.yaml.

    Returns:
        Path of report.html.
    """
    names = {**{method: method for method in comparison.methods}, **cfg.names}
    figure_paths = write_figures(comparison, output, names, cfg)
    sections = build_sections(comparison, names, published, cfg.baseline, figure_paths)
    tables.pairs_table(comparison, names).write(output)
    write_image_metrics(comparison, output / "images.csv")
    return write_report(tables.report_title(comparison, published), sections, output)


def write_figures(comparison: Comparison, output: Path, names: Mapping[str, str], cfg: DictConfig) -> dict[str, Path]:
    """Write the figures as SVG and PNG; returns the PNG files by name of the figure, without those not applicable."""
    store_root = None if cfg.dataset.store is None else Path(cfg.dataset.store).expanduser()
    figures_by_name: dict[str, Figure | None] = {
        "figure2": qualitative_figure(comparison, names, store_root, cfg.per_density),
        "metrics": figures.forest(comparison, names),
        "density": figures.by_density(comparison, names),
        "mass_size": figures.by_mass_size(comparison, names),
        "calibration": figures.calibration(comparison, names),
        "ranking": figures.ranking(comparison, names),
        "sweep": figures.sweep(comparison),
    }
    return {
        name: save_svg_and_png(figure, output / name) for name, figure in figures_by_name.items() if figure is not None
    }


def build_sections(
    comparison: Comparison,
    names: Mapping[str, str],
    published: Mapping[str, Any] | None,
    baseline: str,
    figure_paths: Mapping[str, Path],
) -> list[Section]:
    """Assemble the sections of the report; those without content are omitted when it is written."""

    def figure(name: str) -> list[tuple[Path, str]]:
        return [(figure_paths[name], ALTERNATIVE_TEXTS[name])] if name in figure_paths else []

    density_tables = [tables.density_table(comparison, names, key) for key in PIXEL_METRICS]
    dsc_pairs = replace(tables.pairs_table(comparison, names, ["dsc"]), name="pairs_dsc")
    calibration = [tables.calibration_table(comparison, names)] if comparison.reliability else []
    return [
        Section("Summary", [*summary_sentences(comparison, names, baseline), *comparison.data.notes]),
        Section("Results", tables=[tables.main_table(comparison, names, published)]),
        Section("Uncertainty", tables=[tables.uncertainty_table(comparison, names)], figures=figure("metrics")),
        Section("Qualitative comparison", figures=figure("figure2")),
        Section("Significance tests", tables=[dsc_pairs]),
        Section("Results by density", tables=density_tables, figures=figure("density")),
        Section("Results by mass size", tables=[tables.size_table(comparison, names)], figures=figure("mass_size")),
        Section("Calibration", tables=calibration, figures=figure("calibration")),
        Section("Ranking", tables=[tables.ranking_table(comparison, names)], figures=figure("ranking")),
        Section("θ and α", figures=figure("sweep")),
        Section("Runs", tables=[runs_table(comparison.data, names)]),
    ]


def summary_sentences(comparison: Comparison, names: Mapping[str, str], baseline: str) -> list[str]:
    """Summarise the comparison: protocol, variation over seeds, and each method against the baseline.

    A method is called higher or lower than the baseline only if the interval of the difference excludes 0.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        baseline: Name of the baseline method.
    """
    sentences = [tables.protocol_text(comparison)]
    stds = {method: comparison.overall[method]["dsc"].std for method in comparison.methods}
    if listed := ", ".join(f"{names[method]} {100 * std:.2f}" for method, std in stds.items() if std == std):
        sentences.append(f"Standard deviation of the pooled DSC over folds and seeds, in percentage points: {listed}.")
    if single := [names[method] for method, runs in comparison.data.runs.items() if len(runs) == 1]:
        sentences.append(
            f"Single run of {', '.join(single)}: the variation over seeds is unknown and not part of the intervals, "
            "which are over patients."
        )
    if baseline not in comparison.methods:
        return [*sentences, f"No run of the baseline {names.get(baseline, baseline)} was found to compare with."]
    differences = [d for d in comparison.differences if d.metric == "dsc" and baseline in (d.first, d.second)]
    return [*sentences, *(_difference_sentence(d, names, baseline, comparison.unit) for d in differences)]


def _difference_sentence(difference: Difference, names: Mapping[str, str], baseline: str, unit: str) -> str:
    """Describe the difference in pooled DSC between a method and the baseline."""
    sign, method = (1, difference.first) if difference.second == baseline else (-1, difference.second)
    low, high = sorted((sign * difference.low, sign * difference.high))
    verdict = "higher" if low > 0 else "lower" if high < 0 else "no significant difference (the interval includes 0)"
    return (
        f"{names[method]} vs. {names[baseline]}: pooled DSC {format_signed(sign * difference.value)} percentage points "
        f"[{format_signed(low)}, {format_signed(high)}], {verdict}. Paired by {unit}: effect size "
        f"{format_effect(sign * difference.test.effect_size)}, p {format_p(difference.p_holm, '= ')} (Wilcoxon "
        "signed-rank test, Holm-corrected)."
    )


def runs_table(data: AlignedRuns, names: Mapping[str, str]) -> Table:
    """Create the table of all runs with their main settings."""
    rows = []
    for method, runs in data.runs.items():
        for (fold, seed), run in runs.items():
            settings = [str(run.setting(key, MISSING)) for key in HEADLINE]
            minutes = MISSING if run.minutes is None else f"{run.minutes:.1f}"
            rows.append([names[method], fold or MISSING, seed, str(len(run.rows)), *settings, minutes])
    columns = ["Method", "fold", "seed", "test images", *HEADLINE, "minutes"]
    return Table("runs", "Runs", columns, rows)


def write_image_metrics(comparison: Comparison, path: Path) -> None:
    """Write each test image's metrics by method, averaged over seeds, as CSV: the input of the paired tests."""
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("case", "patient", "density", "mass_pixels", "method", *PIXEL_METRICS))
        for method, metrics in comparison.by_image.items():
            values_by_image = zip(*(metrics[key].tolist() for key in PIXEL_METRICS), strict=True)
            images = zip(comparison.rows, comparison.mass_size.tolist(), values_by_image, strict=True)
            for row, mass_pixels, values in images:
                writer.writerow((row["case"], row["patient"], row["density"], mass_pixels, method, *values))
