"""Sections of the report of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from mammoseg.compare import summary, tables
from mammoseg.compare.difference_tables import pairs_table, power_tables, primary_pairs, primary_table
from mammoseg.compare.run_groups import shows_datasets
from mammoseg.compare.secondary_tables import ranking_tables, secondary_tables
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.reports.page import ReportFigure, Section
from mammoseg.reports.table import MISSING, Table
from mammoseg.runs.settings import HEADLINE
from mammoseg.statistics.alignment import AlignedRuns
from mammoseg.statistics.comparison import Comparison

CAPTIONS = {
    "figure2": "Ground truth and predictions for images at equally spaced quantiles of the DSC in each ACR category.",
    "metrics": "Pooled metrics with confidence intervals. Small dots: individual runs.",
    "density": "Pooled metrics by ACR category with confidence intervals.",
    "mass_size": "Mean DSC over images by mass area.",
    "calibration": "Reliability diagram and histogram of predicted probabilities, over all test pixels. Below the "
    "diagonal, probabilities are higher than the observed fractions (overconfident).",
    "ranking": "Pooled DSC of each method by fold and seed.",
    "sweep": "Pooled DSC by θ and α. Each axis of the left plot is scaled to its range.",
}
SETTING_HEADINGS = {
    "model.width": "Width",
    "trainer.max_epochs": "Epochs",
    "optimizer.lr": "Learning rate",
    "batch_size": "Batch size",
    "dataset.size": "Image size",
}


def build_sections(
    comparison: Comparison,
    names: Mapping[str, str],
    published: Mapping[str, Any] | None,
    cfg: DictConfig,
    figures: Mapping[str, ReportFigure],
) -> list[Section]:
    """Build the sections of the report. `write_report` omits those without content.

    Args:
        comparison: The comparison.
        names: Display names of the methods.
        published: A table of conf/published, or None.
        cfg: Settings as in conf/compare.yaml.
        figures: Figures by name.

    Returns:
        Sections in the order of the report.
    """

    def figure(name: str) -> list[ReportFigure]:
        return [figures[name]] if name in figures else []

    pairs = primary_pairs(comparison, cfg.baseline, cfg.primary_method)
    density_tables = [tables.density_table(comparison, names, key) for key in PIXEL_METRICS]
    return [
        Section("Results", tables=[tables.main_table(comparison, names, published)], figures=figure("metrics")),
        *text_sections(comparison, names, cfg, pairs),
        Section("Confidence intervals", tables=[tables.uncertainty_table(comparison, names)]),
        Section("Qualitative comparison", figures=figure("figure2")),
        Section("Secondary outcomes", tables=secondary_tables(comparison, names)),
        exploratory_section(comparison, names, cfg.primary),
        Section("Results by density category", tables=density_tables, figures=figure("density")),
        Section("Results by mass size", tables=tables.size_tables(comparison, names), figures=figure("mass_size")),
        Section("Calibration", figures=figure("calibration")),
        Section("Results by run", tables=ranking_tables(comparison, names), figures=figure("ranking")),
        Section("Statistical power", tables=power_tables(comparison, cfg.primary, pairs)),
        Section("Influence of θ and α", figures=figure("sweep")),
        Section("Runs", tables=[runs_table(comparison.data, names)]),
    ]


def text_sections(
    comparison: Comparison, names: Mapping[str, str], cfg: DictConfig, pairs: Sequence[tuple[str, str]]
) -> list[Section]:
    """Build the summary, the primary comparison and the description of the statistical methods.

    Args:
        comparison: See `build_sections`.
        names: See `build_sections`.
        cfg: See `build_sections`.
        pairs: Pairs of the primary comparison.
    """
    sentences = summary.summary_sentences(comparison, names, cfg.primary, cfg.baseline, cfg.primary_method, pairs)
    primary = [primary_table(comparison, names, cfg.primary, pairs)] if pairs else []
    return [
        Section("Summary", [*sentences, *comparison.data.notes]),
        Section("Primary comparison", tables=primary),
        Section("Statistical methods", summary.methods_sentences(comparison, names, cfg.primary, pairs)),
    ]


def exploratory_section(comparison: Comparison, names: Mapping[str, str], metric: str) -> Section:
    """Build the section with all pairs of methods in the primary metric."""
    has_pairs = len(comparison.methods) > 1
    exploratory = [pairs_table(comparison, names, [metric], f"pairs_{metric}")] if has_pairs else []
    return Section("Exploratory comparisons", tables=exploratory)


def runs_table(data: AlignedRuns, names: Mapping[str, str]) -> Table:
    """Create the table of all runs and their main settings.

    Args:
        data: Aligned runs.
        names: Display names of the methods.

    Returns:
        The table.
    """
    rows = []
    for method, runs in data.runs.items():
        for (fold, seed), run in runs.items():
            settings = [str(run.setting(key, MISSING)) for key in HEADLINE]
            minutes = MISSING if run.minutes is None else f"{run.minutes:.1f}"
            rows.append([names[method], fold or MISSING, seed, str(len(run.rows)), *settings, minutes])
    headings = [SETTING_HEADINGS.get(key, key) for key in HEADLINE]
    columns = ["Method", "Fold", "Seed", "Test images", *headings, "Minutes"]
    csv_columns = ["Method", "fold", "seed", "test images", *HEADLINE, "minutes"]
    if shows_datasets(data.all_runs):
        columns += ["Trained on", "Tested on", "Seen images"]
        csv_columns += ["trained on", "tested on", "seen images"]
        rows = [
            [*row, run.trained_on, run.dataset, str(sum(run.seen_counts.values()))]
            for row, run in zip(rows, data.all_runs, strict=True)
        ]
    return Table("runs", "Runs with their main settings and training time", columns, rows, csv_columns=csv_columns)
