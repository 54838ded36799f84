"""Report of a comparison: report.html, report.md, tables and figures."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from omegaconf import DictConfig

from mammoseg import validate
from mammoseg.compare import figures, tables
from mammoseg.compare.claim import claim_markdown
from mammoseg.compare.difference_tables import pairs_table, primary_pairs
from mammoseg.compare.external_tables import external_tables
from mammoseg.compare.qualitative_figure import plot_predictions
from mammoseg.compare.run_groups import group_runs
from mammoseg.compare.sections import CAPTIONS, build_sections
from mammoseg.conf import conf_dir
from mammoseg.csv_cells import escape_cells
from mammoseg.errors import UserError
from mammoseg.files import atomic_write, atomic_write_text
from mammoseg.metrics import PIXEL_METRICS
from mammoseg.reports.narrow_figures import narrow_png
from mammoseg.reports.page import ReportFigure, Section, write_report
from mammoseg.reports.plotting import save_svg_and_png
from mammoseg.runs.discovery import RunResults, find_runs
from mammoseg.runs.results import ENSEMBLE
from mammoseg.schema.types import did_you_mean
from mammoseg.statistics.alignment import AlignedRuns, align_runs
from mammoseg.statistics.comparison import Comparison
from mammoseg.statistics.negative_outcomes import contains_negatives

log = logging.getLogger(__name__)

PAPER_CHOICES = ("auto", "none")
PUBLISHED_BY_DATASET = {"inbreast": "table1", "cbis_ddsm": "table2"}


def write_comparison_reports(folders: Sequence[Path], output: Path, cfg: DictConfig) -> list[Path]:
    """Compare the runs in `folders` and write one report per dataset on which they were tested.

    Args:
        folders: Run folders, or folders that contain run folders.
        output: Output folder. If there are several reports, each is written to a subfolder, see `group_runs`.
        cfg: Settings as in conf/compare.yaml.

    Returns:
        Paths of the report.html files.

    Raises:
        UserError: If a setting is invalid or the runs cannot be compared; nothing is written in this case.
    """
    validate_settings(cfg)
    runs = find_runs(folders)
    groups = group_runs(runs)
    if len(groups) > 1:
        log.warning("found runs on different test sets (%s); writing one report for each", ", ".join(groups))
    # Build all comparisons before writing, so that nothing is written if one of them fails.
    comparisons = {name: build_comparison(group, cfg) for name, group in groups.items()}
    check_method_names(cfg, comparisons.values())
    return [
        write_comparison_report(
            comparison,
            output / name if len(groups) > 1 else output,
            published_table(groups[name], cfg),
            cfg,
            [other for other in comparisons.values() if other.data.dataset != comparison.data.dataset],
        )
        for name, comparison in comparisons.items()
    ]


def validate_settings(cfg: DictConfig) -> None:
    """Validate the settings.

    Args:
        cfg: Settings as in conf/compare.yaml.

    Raises:
        UserError: If a setting is invalid.
    """
    validate.probability("level", cfg.level)
    validate.positive_int("resamples", cfg.resamples, minimum=100)
    validate.positive_int("seed", cfg.seed, minimum=0)
    validate.positive_int("per_density", cfg.per_density)
    validate.one_of("primary", cfg.primary, tuple(PIXEL_METRICS))
    validate.one_of("paper", cfg.paper, (*PAPER_CHOICES, *cfg.published))
    if not isinstance(cfg.baseline, str):
        raise UserError(f"baseline must be the name of a method, got {cfg.baseline}")
    if not (cfg.primary_method is None or isinstance(cfg.primary_method, str)):
        raise UserError(f"primary_method must be the name of a method or null, got {cfg.primary_method}")
    if cfg.primary_method == cfg.baseline:
        raise UserError(f"primary_method must differ from baseline, got {cfg.baseline} for both")
    if not isinstance(cfg.names, DictConfig):
        raise UserError(f"names must map methods to display names, such as {{au_net: AU-Net}}, got {cfg.names}")


def check_method_names(cfg: DictConfig, comparisons: Iterable[Comparison]) -> None:
    """Check the methods in settings: they are in the runs or presets of `conf/method`.

    Args:
        cfg: Settings as in conf/compare.yaml. For display names of other methods, there is only a warning.
        comparisons: Comparisons of all datasets.

    Raises:
        UserError: If `cfg.baseline` or `cfg.primary_method` is another name.
    """
    methods = {
        name
        for comparison in comparisons
        for method in comparison.data.runs
        for name in (method, comparison.data.base_method(method))
    }
    known = methods | {path.stem for path in (conf_dir() / "method").glob("*.yaml")}
    for setting in ("baseline", "primary_method"):
        if (name := cfg[setting]) is not None and name not in known:
            nearest = did_you_mean(name, sorted(known))
            raise UserError(f"{setting} must be a method of the runs, got {name}{nearest}")
    for name in sorted(set(map(str, cfg.names)) - known):
        nearest = did_you_mean(name, sorted(known))
        log.warning("names.%s is not used, since no run has this method%s", name, nearest)


def build_comparison(runs: Sequence[RunResults], cfg: DictConfig) -> Comparison:
    """Build the comparison of runs of one dataset.

    Args:
        runs: Runs of one dataset.
        cfg: Settings as in conf/compare.yaml. Methods are in the order of `cfg.names`, followed by the other methods in
            alphabetical order; methods of the same name that differ in their settings are adjacent.

    Returns:
        The comparison.

    Raises:
        UserError: If the runs cannot be compared.
    """
    data = align_runs(runs)
    order = list(cfg.names)
    position = {name: i for i, name in enumerate(order)}
    methods = sorted(data.runs, key=lambda method: (position.get(data.base_method(method), len(order)), method))
    data = replace(data, runs={method: data.runs[method] for method in methods})
    return Comparison(data, cfg.resamples, cfg.level, cfg.seed)


def published_table(runs: Sequence[RunResults], cfg: DictConfig) -> Mapping[str, Any] | None:
    """Select the published table with which the runs are compared.

    Args:
        runs: Runs of one dataset.
        cfg: Settings as in conf/compare.yaml. `cfg.paper` is the name of the table; "auto" selects it by the experiment
            or the dataset of the runs, unless a network was trained on another dataset or a test image has no mass.

    Returns:
        A table of conf/published, or None.
    """
    name = cfg.paper
    if name == "auto" and any(run.is_external or contains_negatives(run.rows) for run in runs):
        name = "none"
    elif name == "auto":
        experiments = {run.rows[0]["experiment"] for run in runs}
        (experiment,) = experiments if len(experiments) == 1 else ("",)
        name = experiment if experiment in cfg.published else PUBLISHED_BY_DATASET.get(runs[0].dataset, "none")
    table: Mapping[str, Any] | None = None if name == "none" else cfg.published[name]
    return table


def write_comparison_report(
    comparison: Comparison,
    output: Path,
    published: Mapping[str, Any] | None,
    cfg: DictConfig,
    others: Sequence[Comparison] = (),
) -> Path:
    """Write the report, tables and figures of a comparison.

    Args:
        comparison: The comparison.
        output: Output folder.
        published: A table of conf/published, or None.
        cfg: Settings as in conf/compare.yaml.
        others: Comparisons on other datasets, for the section on external validation.

    Returns:
        Path of report.html.
    """
    names = display_names(comparison.data, cfg.names)
    report_figures = write_comparison_figures(comparison, output, names, published, cfg)
    results, summary, *further = build_sections(comparison, names, published, cfg, report_figures)
    external = Section("External validation", tables=external_tables(comparison, others, names))
    sections = [results, summary, external, *further]
    pairs_table(comparison, names).write(output)
    write_image_metrics(comparison, output / "images.csv")
    pairs = primary_pairs(comparison, cfg.baseline, cfg.primary_method)
    atomic_write_text(output / "claim.md", claim_markdown(comparison, names, cfg.primary, pairs))
    return write_report(tables.report_title(comparison, published), sections, output)


def display_names(data: AlignedRuns, names: Mapping[str, str]) -> dict[str, str]:
    """Return the display names of all methods.

    Args:
        data: Aligned runs.
        names: Display names by method, with or without the settings that distinguish methods of the same name.

    Returns:
        `names`, and display names of the other methods: "AU-Net (loss.alpha=1.0)" for "au_net (loss.alpha=1.0)", and
        "AU-Net, ensemble of 3" for "au_net-ensemble3".
    """
    displayed = dict(names)
    for method in data.methods:
        base = data.base_method(method)
        single, _, size = base.rpartition(ENSEMBLE)
        if single in displayed and size.isdecimal():
            displayed.setdefault(base, f"{displayed[single]}, ensemble of {size}")
        displayed.setdefault(method, displayed.get(base, base) + method.removeprefix(base))
    return displayed


def write_comparison_figures(
    comparison: Comparison,
    output: Path,
    names: Mapping[str, str],
    published: Mapping[str, Any] | None,
    cfg: DictConfig,
) -> dict[str, ReportFigure]:
    """Write the figures in SVG and PNG format.

    Args:
        comparison: The comparison.
        output: Output folder.
        names: Display names of the methods.
        published: A table of conf/published, or None.
        cfg: Settings as in conf/compare.yaml.

    Returns:
        Figures by name; those for which the runs lack the data are omitted.
    """
    store_root = None if cfg.dataset.store is None else Path(cfg.dataset.store).expanduser()
    figures_by_name: dict[str, Figure | None] = {
        "figure2": plot_predictions(comparison, names, store_root, cfg.per_density),
        "metrics": figures.plot_metrics(comparison, names, published),
        "density": figures.plot_density(comparison, names),
        "mass_size": figures.plot_mass_size(comparison, names),
        "calibration": figures.plot_calibration(comparison, names),
        "ranking": figures.plot_ranking(comparison, names),
        "sweep": figures.plot_theta_alpha(comparison),
    }
    report_figures = {}
    for name, figure in figures_by_name.items():
        if figure is not None:
            path = save_svg_and_png(figure, output / name)
            narrow = b"" if name == "figure2" else narrow_png(figure)  # images remain side by side
            report_figures[name] = ReportFigure(path, CAPTIONS[name], narrow)
    return report_figures


def write_image_metrics(comparison: Comparison, path: Path) -> None:
    """Write the metrics of each test image and method, averaged over seeds.

    Args:
        comparison: The comparison.
        path: Output file (CSV).
    """
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("case", "patient", "density", "mass_pixels", "method", *PIXEL_METRICS))
        for method, metrics in comparison.by_image.items():
            values_by_image = zip(*(metrics[key].tolist() for key in PIXEL_METRICS), strict=True)
            images = zip(comparison.rows, comparison.mass_size.tolist(), values_by_image, strict=True)
            for row, mass_pixels, values in images:
                names = escape_cells((row["case"], row["patient"], row["density"], mass_pixels, method))
                writer.writerow((*names, *values))
